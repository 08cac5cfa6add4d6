// SPDX-License-Identifier: MIT

// A client in Go: net_peer echo|http HOST:PORT. Ends with 0 if all was as it should be.
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const clients = 32

func echo(address string, size int) error {
	connection, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(40 * time.Second))
	sent := make([]byte, size)
	rand.Read(sent)
	go func() {
		connection.Write(sent)
		connection.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(connection)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%d of %d bytes, or others", len(got), size)
	}
	return err
}

func hello(client *http.Client, address string) error {
	for i := 0; i < 100; i++ {
		var body io.Reader // of unknown length, so it goes out in chunks
		method := "GET"
		if i%2 == 1 {
			method, body = "POST", io.MultiReader(strings.NewReader(strings.Repeat("x", i*1000)))
		}
		request, err := http.NewRequest(method, "http://"+address+"/", body)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		if response.StatusCode != 200 || string(text) != "Hello, world\n" {
			return fmt.Errorf("%s: %q", response.Status, text)
		}
	}
	return nil
}

func main() {
	what, address := os.Args[1], os.Args[2]
	client := &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	var all sync.WaitGroup
	failed := make(chan error, clients)
	for i := 0; i < clients; i++ {
		all.Add(1)
		go func(number int) {
			defer all.Done()
			var err error
			if what == "echo" {
				err = echo(address, number*100000+1)
			} else {
				err = hello(client, address)
			}
			if err != nil {
				failed <- err
			}
		}(i)
	}
	all.Wait()
	close(failed)
	for err := range failed {
		fmt.Println(err)
		defer os.Exit(1)
	}
}
