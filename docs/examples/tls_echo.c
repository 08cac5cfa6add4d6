/* SPDX-License-Identifier: MIT
 *
 * An echo server that speaks TLS, and a client of it, both here: the client trusts the server's own certificate and nobody
 * else, says two words, and comes back to resume its session.
 *
 * Run: openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout build/key.pem -out build/cert.pem 2>/dev/null && build/examples/tls_echo build/cert.pem build/key.pem
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

struct app {
    const char *certificate, *key;
    struct torc_listener listener;
    struct torc_tls_context *server;
};

static int echo(struct torc_stream *s, void *arg) // knows nothing of TLS
{
    char buf[4096];
    ssize_t n;
    while ((n = torc_stream_read(s, buf, sizeof buf)) > 0)
        if ((n = torc_stream_write_all(s, buf, (size_t)n)) < 0)
            break;
    return (int)n;
}

static int serve(void *arg)
{
    struct app *app = arg;
    const struct torc_serve_options options = {.tls = app->server};
    return torc_serve_on(&app->listener, echo, NULL, &options);
}

static int say(struct torc_stream *s, const char *word)
{
    char answer[64];
    struct torc_tls_info info;
    int err = torc_stream_print(s, word);
    if (err)
        return err;
    ssize_t n = torc_stream_read_exactly(s, answer, strlen(word));
    if (n > 0)
        err = torc_tls_info_get(s, &info);
    if (n > 0 && !err)
        printf("%.*s, says %s by %s%s\n", (int)n, answer, info.peer_subject, info.version,
               info.resumed ? ", resumed" : "");
    return n < 0 ? (int)n : err;
}

static int visit(struct app *app, struct torc_tls_context *client, const char *word)
{
    struct torc_stream s;
    int err = torc_connect_to(&s, torc_listener_address(&app->listener), NULL);
    if (err)
        return err;
    err = torc_tls_start(&s, client, "localhost"); // whose name the certificate must have
    if (!err)
        err = say(&s, word);
    torc_stream_close(&s);
    return err;
}

static int visit_twice(struct app *app)
{
    struct torc_tls_context *client;
    const struct torc_tls_options options = {.authorities = app->certificate};
    int err = torc_tls_context_create(&client, &options);
    if (err)
        return err;
    err = visit(app, client, "hello");
    if (!err)
        err = visit(app, client, "hello again");
    torc_tls_context_destroy(client);
    return err;
}

static int main_task(void *arg)
{
    struct app *app = arg;
    const struct torc_tls_options options = {.certificate = app->certificate, .key = app->key};
    struct torc_scope scope;
    int err = torc_listen(&app->listener, "tcp://127.0.0.1:0", NULL);
    if (err)
        return err;
    err = torc_tls_context_create(&app->server, &options); // it says itself what is wrong
    if (!err) {
        torc_scope_init(&scope);
        err = torc_spawn(&scope, serve, app);
        if (!err)
            err = visit_twice(app);
        torc_scope_cancel(&scope);
        int served = torc_scope_join(&scope);
        if (!err && served != -ECANCELED)
            err = served;
    }
    torc_tls_context_destroy(app->server);
    torc_listener_close(&app->listener);
    return err;
}

int main(int argc, char **argv)
{
    const struct torc_config one = {.shards = 1};
    if (argc != 3) {
        fprintf(stderr, "usage: tls_echo CERTIFICATE KEY\n");
        return 2;
    }
    struct app app = {.certificate = argv[1], .key = argv[2]};
    int err = torc_run(&one, main_task, &app);
    if (err)
        fprintf(stderr, "tls_echo: %s\n", strerror(-err));
    return err ? 1 : 0;
}
