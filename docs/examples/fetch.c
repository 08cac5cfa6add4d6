/* SPDX-License-Identifier: MIT
 *
 * Gets one page by HTTP and prints its body: a client with a deadline over all of it, name, connect and answer. It follows
 * nothing, and asks in HTTP/1.0, so that the answer comes in one piece and the connection's end is its end.
 *
 * Run: build/examples/http_hello tcp://127.0.80.2:8080
 * Try: build/examples/fetch http://127.0.80.2:8080/ 5
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <torc.h>

enum { HEAD_MAX = 64 * 1024, AUTHORITY_MAX = 200, SECONDS = 10, SECONDS_MAX = 86400 };

struct page {
    char authority[AUTHORITY_MAX + 1]; /* HOST or HOST:PORT */
    char address[TORC_ADDRESS_TEXT_MAX];
    const char *path;
    uint64_t seconds;
    char why[TORC_ADDRESS_WHY_BYTES]; /* what went wrong; empty: the error says it */
};

/* What a URL is made of. False: no such thing. */
static bool read_url(const char *url, struct page *page)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    url += sizeof scheme - 1;
    size_t length = strcspn(url, "/?#");
    page->path = url + length;
    if (!length || length > AUTHORITY_MAX || strpbrk(url, " \r\n"))
        return false;
    memcpy(page->authority, url, length);
    const char *bracket = strchr(page->authority, ']'); // [::1]:8080
    bool has_port = strchr(bracket ? bracket : page->authority, ':') != NULL;
    snprintf(page->address, sizeof page->address, "tcp://%s%s", page->authority,
             has_port ? "" : ":80");
    return true;
}

static int ask(struct torc_stream *s, const struct page *page)
{
    size_t path_bytes = strcspn(page->path, "#");
    const char *slash = *page->path == '/' ? "" : "/";
    const struct iovec pieces[] = {
        {"GET ", 4},
        {(char *)slash, strlen(slash)},
        {(char *)page->path, path_bytes},
        {" HTTP/1.0\r\nHost: ", 17},
        {(char *)page->authority, strlen(page->authority)},
        {"\r\nUser-Agent: torc-fetch\r\n\r\n", 28},
    };
    ssize_t n = torc_stream_writev_all(s, pieces, sizeof pieces / sizeof *pieces);
    return n < 0 ? (int)n : 0;
}

/* The head has to say that all is well; *BODY_BYTES is what it promises, if it does. */
static int read_head(struct torc_stream *s, struct page *page, int64_t *body_bytes)
{
    static const char name[] = "Content-Length:";
    char line[1024];
    ssize_t n = torc_stream_read_line(s, line, sizeof line);
    if (n < 0)
        return (int)n;
    if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < sizeof "HTTP/1.1 200" - 1) {
        snprintf(page->why, sizeof page->why, "this is no answer of HTTP");
        return -EPROTO;
    }
    if (line[9] != '2') {
        snprintf(page->why, sizeof page->why, "the server says %.200s", line + 9);
        return -EREMOTEIO;
    }
    for (size_t head = 0; (n = torc_stream_read_line(s, line, sizeof line)) > 0;) {
        head += (size_t)n;
        if (head > HEAD_MAX)
            return -EMSGSIZE;
        if (!strncasecmp(line, name, sizeof name - 1))
            *body_bytes = strtoll(line + sizeof name - 1, NULL, 10);
    }
    return (int)n;
}

static int exchange(struct torc_stream *s, struct page *page)
{
    int64_t promised = -1, got = 0;
    int err = ask(s, page);
    if (!err)
        err = read_head(s, page, &promised);
    const void *data;
    ssize_t n = 0;
    while (!err && got != promised && (n = torc_stream_peek(s, &data)) > 0) {
        if (promised >= 0 && n > promised - got)
            n = promised - got;
        if (fwrite(data, 1, (size_t)n, stdout) != (size_t)n) // one task: nobody else waits for it
            return -EIO;
        torc_stream_consume(s, (size_t)n);
        got += n;
    }
    if (!err && n < 0)
        err = (int)n;
    if (!err && got < promised) {
        snprintf(page->why, sizeof page->why, "the answer ends after %lld of %lld bytes",
                 (long long)got, (long long)promised);
        err = -EPIPE;
    }
    return err;
}

static int fetch(void *arg)
{
    struct page *page = arg;
    struct torc_stream s;
    struct torc_deadline limit;
    torc_deadline_enter(&limit, page->seconds * TORC_SEC);
    int err = torc_connect(&s, page->address, NULL);
    if (err) {
        torc_address_explain(page->address, err, page->why);
    } else {
        err = exchange(&s, page);
        torc_stream_close(&s);
    }
    if (torc_deadline_leave(&limit) && err == -ETIMEDOUT)
        snprintf(page->why, sizeof page->why, "not done within %llu s",
                 (unsigned long long)page->seconds);
    return err;
}

int main(int argc, char **argv)
{
    static struct page page = {.seconds = SECONDS};
    char *end = "";
    if (argc == 3)
        page.seconds = strtoull(argv[2], &end, 10);
    if (argc < 2 || argc > 3 || *end || !page.seconds || page.seconds > SECONDS_MAX ||
        !read_url(argv[1], &page)) {
        fprintf(stderr, "usage: fetch http://HOST[:PORT][/PATH] [SECONDS]\n");
        return 2;
    }
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, fetch, &page);
    if (!err && fflush(stdout))
        err = -EIO;
    if (err)
        fprintf(stderr, "fetch: %s: %s\n", argv[1], *page.why ? page.why : strerror(-err));
    return err ? 1 : 0;
}
