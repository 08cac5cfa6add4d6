/* SPDX-License-Identifier: MIT
 *
 * Text to addresses and back. Strict: what is not written as net/address.h says is refused with the reason in words,
 * since an address that was guessed at connects to the wrong place. In particular a host whose last part is a number is
 * an IPv4 address of four decimal numbers or malformed: the resolver would take 127.1 and 0x7f.1 for addresses, too.
 *
 * Only the names of interfaces, and whether there is IPv6, are the machine's to say; they cost a socket for a moment.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include "io/io_internal.h"
#include "net/address_internal.h"

enum {
    LABEL_MAX = 63, /* between two dots of a name */
    SHOWN_MAX = 120 /* characters of a text that is explained */
};

#define UNIX_PATH_OFFSET offsetof(struct sockaddr_un, sun_path)
#define UNIX_PATH_MAX (sizeof((struct sockaddr_un *)NULL)->sun_path - 1)

static const struct scheme {
    const char *prefix;
    enum torc_transport transport;
} schemes[] = {
    {"tcp://", TORC_TCP},
    {"udp://", TORC_UDP},
    {"unix:", TORC_UNIX},
    {"unixgram:", TORC_UNIX_DATAGRAM},
};

/* ---- what the machine says ---- */

/* Programs read their command line before any executor runs. */
static const struct torci_kernel *kernel_here(void)
{
    return torci_this ? torci_kernel_this() : &torci_kernel_linux;
}

static bool machine_has_ipv6(void)
{
    const struct torci_kernel *kernel = kernel_here();
    long fd = TORCI_CALL(kernel, SYS_socket, AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)TORCI_CALL(kernel, SYS_close, fd);
    return fd != -EAFNOSUPPORT; /* out of descriptors is no reason to do without */
}

/* SIOCGIFINDEX or SIOCGIFNAME. */
static int ask_interface(unsigned long request, struct ifreq *interface)
{
    const struct torci_kernel *kernel = kernel_here();
    long fd = TORCI_CALL(kernel, SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    long err = TORCI_CALL(kernel, SYS_ioctl, fd, (long)request, (long)interface);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return (int)err;
}

/* ---- reading ---- */

/* What is being read: WHY is NULL as long as all is well, or else ERROR says which kind of bad it is. */
struct reading {
    struct torc_address address;
    const char *why;
    int error;
};

static bool malformed(struct reading *reading, const char *why)
{
    reading->why = why;
    reading->error = -EINVAL;
    return false;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number without a sign, up to MOST, and nothing behind it. */
static bool read_number(const char *text, uint64_t most, uint64_t *number)
{
    *number = 0;
    if (!*text)
        return false;
    for (; is_digit(*text); text++) {
        *number = *number * 10 + (uint64_t)(*text - '0');
        if (*number > most)
            return false;
    }
    return !*text;
}

/* TEXT stands behind the host. */
static bool read_port(struct reading *reading, const char *text, uint16_t *port)
{
    uint64_t number;
    if (*text != ':')
        return malformed(reading, "the port is missing: write tcp://HOST:PORT");
    if (strchr(text + 1, ':'))
        return malformed(reading, "an IPv6 address belongs in brackets: tcp://[::1]:80");
    if (!text[1])
        return malformed(reading, "the port is missing after the colon");
    if (strspn(text + 1, "0123456789") == strlen(text + 1) &&
        !read_number(text + 1, 65535, &number))
        return malformed(reading, "a port is a number from 0 to 65535");
    if (!read_number(text + 1, 65535, &number))
        return malformed(reading, "the port must be a number, and nothing may follow it");
    *port = (uint16_t)number;
    return true;
}

static bool read_scope(struct reading *reading, const char *text, uint32_t *scope)
{
    uint64_t number;
    struct ifreq interface = {.ifr_ifindex = 0};
    if (!*text || strlen(text) >= sizeof interface.ifr_name)
        return malformed(reading,
                         "after the % of an IPv6 address comes an interface: [fe80::1%eth0]");
    if (read_number(text, INT32_MAX, &number) && number) {
        *scope = (uint32_t)number;
        return true;
    }
    memcpy(interface.ifr_name, text, strlen(text));
    int err = ask_interface(SIOCGIFINDEX, &interface);
    if (err) {
        reading->why = "there is no such interface";
        reading->error = err;
        return false;
    }
    *scope = (uint32_t)interface.ifr_ifindex;
    return true;
}

static bool set_ipv4(struct reading *reading, struct in_addr host)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = host};
    memcpy(&reading->address.storage, &address, sizeof address);
    reading->address.length = sizeof address;
    return true;
}

static bool set_ipv6(struct reading *reading, struct in6_addr host, uint32_t scope)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_addr = host, .sin6_scope_id = scope};
    memcpy(&reading->address.storage, &address, sizeof address);
    reading->address.length = sizeof address;
    return true;
}

/* Between brackets. */
static bool read_ipv6(struct reading *reading, const char *text, size_t length)
{
    static const char wrong[] = "this is no IPv6 address between the brackets";
    char copy[INET6_ADDRSTRLEN + IFNAMSIZ + 1];
    struct in6_addr host;
    uint32_t scope = 0;
    if (length >= sizeof copy)
        return malformed(reading, wrong);
    memcpy(copy, text, length);
    copy[length] = '\0';
    char *percent = strchr(copy, '%');
    if (percent)
        *percent = '\0';
    if (inet_pton(AF_INET6, copy, &host) != 1)
        return malformed(reading, wrong);
    if (percent && !read_scope(reading, percent + 1, &scope))
        return false;
    return set_ipv6(reading, host, scope);
}

/* The last part of a host is a number in some notation: no name ends so. */
static bool looks_like_ipv4(const char *host, size_t length)
{
    while (length && host[length - 1] != '.')
        length--;
    const char *last = host + length;
    return *last && (strspn(last, "0123456789") == strlen(last) ||
                     (last[0] == '0' && (last[1] | 0x20) == 'x'));
}

static bool name_is_sound(const char *host)
{
    size_t label = 0;
    for (const char *at = host; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || is_digit(*at) || *at == '_';
        if (*at == '.' ? !label : !letter && (*at != '-' || !label))
            return false; /* an empty part, one that begins with a hyphen, or what no name has */
        label = *at == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return false;
    }
    return true;
}

/* In numbers, or a name, which is left in NAME. */
static bool read_host(struct reading *reading, const char *text, size_t length,
                      struct torci_name *name)
{
    struct in_addr host;
    if (length > TORCI_NAME_MAX)
        return malformed(reading, "a host's name has at most 253 characters");
    for (size_t i = 0; i < length; i++)
        name->host[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    name->host[length] = '\0';
    if (inet_pton(AF_INET, name->host, &host) == 1)
        return set_ipv4(reading, host);
    if (looks_like_ipv4(name->host, length))
        return malformed(reading, "an IPv4 address is four numbers from 0 to 255: 127.0.0.1");
    if (!name_is_sound(name->host))
        return malformed(reading, "a host is an address, or a name of letters, digits and hyphens "
                                  "(others as xn--...)");
    reading->error = -EDESTADDRREQ;
    return true;
}

static bool read_internet(struct reading *reading, const char *text, struct torci_name *name)
{
    const char *end;
    bool good;
    if (*text == '[') {
        end = strchr(text, ']');
        if (!end)
            return malformed(reading, "the bracket is never closed");
        good = read_ipv6(reading, text + 1, (size_t)(end++ - text) - 1);
    } else {
        end = text + strcspn(text, ":/");
        if (*end == ':' && strchr(end + 1, ':')) /* not a host that is too short, but this */
            return read_port(reading, end, &name->port);
        if (end != text)
            good = read_host(reading, text, (size_t)(end - text), name);
        else if (machine_has_ipv6())
            good = set_ipv6(reading, in6addr_any, 0);
        else
            good = set_ipv4(reading, (struct in_addr){INADDR_ANY});
    }
    if (!good || !read_port(reading, end, &name->port))
        return false;
    if (!reading->error)
        torc_address_set_port(&reading->address, name->port);
    return true;
}

static bool read_path(struct reading *reading, const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(text);
    bool abstract = *text == '@';
    if (!length)
        return malformed(reading, "the path is missing: write unix:/run/NAME or unix:@NAME");
    if (abstract && length == 1)
        return malformed(reading, "the name is missing after the @");
    if (length > UNIX_PATH_MAX)
        return malformed(reading, "the path or name of a Unix socket has at most 107 bytes");
    memcpy(address.sun_path, text, length);
    if (abstract)
        address.sun_path[0] = '\0';
    /* An abstract name ends with the address; a path with its NUL. */
    reading->address.length = (socklen_t)(UNIX_PATH_OFFSET + length + !abstract);
    memcpy(&reading->address.storage, &address, sizeof address);
    return true;
}

int torci_address_read(const char *text, struct torc_address *address, struct torci_name *name,
                       const char **why)
{
    struct reading reading = {.error = 0};
    const struct scheme *scheme = NULL;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(schemes); i++)
        if (!strncmp(text, schemes[i].prefix, strlen(schemes[i].prefix)))
            scheme = &schemes[i];
    if (!scheme) {
        *why = "an address begins with tcp://, udp://, unix: or unixgram:";
        return -EINVAL;
    }
    const char *rest = text + strlen(scheme->prefix);
    reading.address.transport = name->transport = scheme->transport;
    bool is_path = scheme->transport == TORC_UNIX || scheme->transport == TORC_UNIX_DATAGRAM;
    bool good = is_path ? read_path(&reading, rest) : read_internet(&reading, rest, name);
    *why = reading.why;
    if (good && !reading.error)
        *address = reading.address;
    return reading.error;
}

int torc_address_parse(const char *text, struct torc_address *address)
{
    struct torci_name name;
    const char *why;
    return torci_address_read(text, address, &name, &why);
}

/* ---- writing ---- */

static const char *prefix_of(enum torc_transport transport)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(schemes); i++)
        if (schemes[i].transport == transport)
            return schemes[i].prefix;
    return "";
}

/* "%eth0", or the number where the interface is gone; nothing for none. */
static void format_scope(uint32_t scope, char *text, size_t size)
{
    struct ifreq interface = {.ifr_ifindex = (int)scope};
    text[0] = '\0';
    if (!scope)
        return;
    if (ask_interface(SIOCGIFNAME, &interface))
        snprintf(text, size, "%%%u", (unsigned)scope);
    else
        snprintf(text, size, "%%%.*s", (int)sizeof interface.ifr_name - 1, interface.ifr_name);
}

/* The bytes of a Unix socket's path, or of its abstract name with the NUL before it. */
static size_t unix_bytes(const struct torc_address *address, const char **path)
{
    *path = (const char *)&address->storage + UNIX_PATH_OFFSET;
    if (address->length <= UNIX_PATH_OFFSET)
        return 0; /* it has no name */
    size_t size = address->length - UNIX_PATH_OFFSET;
    return **path ? strnlen(*path, size) : size;
}

static void format_unix(const struct torc_address *address, const char *prefix, char *text)
{
    const char *path;
    size_t length = unix_bytes(address, &path);
    int used = snprintf(text, TORC_ADDRESS_TEXT_MAX, "%s%s", prefix,
                        length && path[0] == '@' ? "./" : ""); /* a path that looks abstract */
    char *at = text + used;
    for (size_t i = 0; i < length; i++)
        *at++ = (char)(path[i] ? path[i] : '@');
    *at = '\0';
}

const char *torc_address_format(const struct torc_address *address, char *text)
{
    char host[INET6_ADDRSTRLEN] = "", scope[IFNAMSIZ + 2];
    const char *prefix = prefix_of(address->transport);
    unsigned port = torc_address_port(address);
    switch (address->storage.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, TORC_ADDRESS_TEXT_MAX, "%s%s:%u", prefix, host, port);
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address->storage;
        (void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        format_scope(in->sin6_scope_id, scope, sizeof scope);
        snprintf(text, TORC_ADDRESS_TEXT_MAX, "%s[%s%s]:%u", prefix, host, scope, port);
        break;
    }
    default: format_unix(address, prefix, text);
    }
    return text;
}

/* ---- asking ---- */

bool torc_address_equal(const struct torc_address *a, const struct torc_address *b)
{
    if (a->transport != b->transport || a->storage.ss_family != b->storage.ss_family)
        return false;
    switch (a->storage.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *one = (const struct sockaddr_in *)&a->storage;
        const struct sockaddr_in *two = (const struct sockaddr_in *)&b->storage;
        return one->sin_addr.s_addr == two->sin_addr.s_addr && one->sin_port == two->sin_port;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *one = (const struct sockaddr_in6 *)&a->storage;
        const struct sockaddr_in6 *two = (const struct sockaddr_in6 *)&b->storage;
        return !memcmp(&one->sin6_addr, &two->sin6_addr, sizeof one->sin6_addr) &&
               one->sin6_port == two->sin6_port && one->sin6_scope_id == two->sin6_scope_id;
    }
    default: {
        const char *one, *two;
        size_t length = unix_bytes(a, &one);
        return length == unix_bytes(b, &two) && !memcmp(one, two, length);
    }
    }
}

static in_port_t *port_of(struct torc_address *address)
{
    switch (address->storage.ss_family) {
    case AF_INET: return &((struct sockaddr_in *)&address->storage)->sin_port;
    case AF_INET6: return &((struct sockaddr_in6 *)&address->storage)->sin6_port;
    default: return NULL;
    }
}

uint16_t torc_address_port(const struct torc_address *address)
{
    struct torc_address copy = *address;
    const in_port_t *port = port_of(&copy);
    return port ? ntohs(*port) : 0;
}

void torc_address_set_port(struct torc_address *address, uint16_t port)
{
    in_port_t *place = port_of(address);
    if (place)
        *place = htons(port);
}

/* ---- explaining ---- */

/* What an error means of TEXT, and what to do; NULL: nothing better is known than its number. */
static const char *meaning(int error, bool is_path, bool is_name)
{
    switch (error) {
    case -EDESTADDRREQ: return "a name can't be used here: write the address in numbers";
    case -ENOENT:
        return is_path ? "no such path: its directory is missing, or its server is not running"
                       : "there is no such name: see its spelling, /etc/hosts and the DNS";
    case -EAGAIN:
        if (is_path)
            return "the server has too many waiting connections";
        return is_name ? "the resolver gives no answer now: see /etc/resolv.conf"
                       : "the kernel has no room for it now: try again";
    case -EADDRINUSE:
        return is_path ? "another program listens there: stop it (ss -lxp shows it), or take "
                         "another path"
                       : "another program listens there: stop it (ss -lntup shows it), or take "
                         "another port";
    case -EADDRNOTAVAIL:
        return "no interface of this machine has that address (see ip addr), or no port is left "
               "for "
               "a connection (see net.ipv4.ip_local_port_range)";
    case -EACCES:
        return is_path ? "no permission: see the rights of the path and its directory"
                       : "no permission: ports below net.ipv4.ip_unprivileged_port_start need "
                         "CAP_NET_BIND_SERVICE; or a packet filter forbids it";
    case -EPERM: return "no permission: this option needs CAP_NET_ADMIN, or a filter forbids it";
    case -ECONNREFUSED: return "nobody listens there: is the server running?";
    case -ETIMEDOUT: return "no answer in time: is a packet filter in between?";
    case -ENETUNREACH:
    case -EHOSTUNREACH: return "there is no way to it: see ip route get";
    case -EAFNOSUPPORT: return "this kind of address can't be used here (no IPv6?)";
    case -ENODEV: return "there is no such interface: see ip link";
    case -EPROTOTYPE:
        return "this is the wrong kind of socket: streams are tcp:// and unix:, "
               "datagrams udp:// and unixgram:";
    case -EMFILE: return "too many open files: raise the limit (ulimit -n, LimitNOFILE=)";
    case -ENFILE: return "the machine has too many open files: see fs.file-max";
    case -ENOMEM:
    case -ENOBUFS: return "out of memory";
    case -ECANCELED: return "cancelled";
    default: return NULL;
    }
}

const char *torc_address_explain(const char *text, int error, char *why)
{
    char shown[SHOWN_MAX + 1], number[32];
    struct torc_address address;
    struct torci_name name;
    const char *reason;
    int read = torci_address_read(text, &address, &name, &reason);
    size_t length = strnlen(text, SHOWN_MAX + 1);
    for (size_t i = 0; i < length && i < SHOWN_MAX; i++)
        shown[i] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?'); /* it is one line */
    shown[length < SHOWN_MAX ? length : SHOWN_MAX] = '\0';
    bool is_path = !strncmp(text, "unix", 4);
    if (error != -EINVAL || read != -EINVAL)
        reason = meaning(error, is_path, read == -EDESTADDRREQ);
    if (!reason) {
        snprintf(number, sizeof number, "errno %d", error < 0 ? -error : error);
        reason = error == -EINVAL ? "the kernel refuses it here" : number;
    }
    snprintf(why, TORC_ADDRESS_WHY_BYTES, "%s%s: %s", shown, length > SHOWN_MAX ? "..." : "",
             reason);
    return why;
}
