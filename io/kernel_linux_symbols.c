/* SPDX-License-Identifier: MIT
 *
 * A stack trace that names functions, written from a signal handler. glibc's backtrace_symbols_fd knows only exported
 * names, and in a program hardly any function is exported; so the program's own symbol table is read from its file,
 * mapped for the purpose. Addresses in shared libraries are left to glibc.
 *
 * Unwinding is glibc's, by the unwind tables: frame pointers are not kept in optimised code. It ends at a task's first
 * frame, whose return address is zero.
 *
 * Only open, fstat, mmap, munmap, close and write are called, all async-signal-safe, and backtrace, which is so once it
 * has loaded libgcc: torci_linux_backtrace_prepare makes it do that before.
 */
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/kernel_linux_internal.h"

enum { FRAMES_MAX = 64, LINE_MAX_BYTES = 256 };

/* Where the program lies; written once before the first handler can run. */
static struct {
    uintptr_t bias, low, high;
} program;

struct symbols {
    const char *file; /* the mapped program, NULL if it can't be had */
    size_t file_size;
    const ElfW(Sym) * table;
    size_t count;
    const char *names;
    size_t names_size;
};

static int find_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    program.bias = info->dlpi_addr;
    program.low = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        uintptr_t low = program.bias + part->p_vaddr, high = low + part->p_memsz;
        if (low < program.low)
            program.low = low;
        if (high > program.high)
            program.high = high;
    }
    return 1; /* the first object is the program */
}

static void prepare(void)
{
    void *frame;
    (void)backtrace(&frame, 1);
    (void)dl_iterate_phdr(find_program, NULL);
}

void torci_linux_backtrace_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, prepare);
}

/* SIZE bytes at OFFSET of the file, if they are in it and ALIGN fits. */
static const void *symbols_part(const struct symbols *symbols, uint64_t offset, uint64_t size,
                                size_t align)
{
    if (offset > symbols->file_size || size > symbols->file_size - offset || offset % align)
        return NULL;
    return symbols->file + offset;
}

/* The file is the user's and may be stripped or rewritten by now: every offset is checked. */
static void symbols_find_table(struct symbols *symbols)
{
    const ElfW(Ehdr) *header = symbols_part(symbols, 0, sizeof *header, 1);
    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return;
    const ElfW(Shdr) *sections =
        symbols_part(symbols, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections,
                     _Alignof(ElfW(Shdr)));
    for (unsigned i = 0; sections && i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB || sections[i].sh_link >= header->e_shnum)
            continue;
        const ElfW(Shdr) *names = &sections[sections[i].sh_link];
        symbols->table =
            symbols_part(symbols, sections[i].sh_offset, sections[i].sh_size, _Alignof(ElfW(Sym)));
        symbols->names = symbols_part(symbols, names->sh_offset, names->sh_size, 1);
        if (symbols->table && symbols->names && names->sh_size) {
            symbols->count = sections[i].sh_size / sizeof(ElfW(Sym));
            symbols->names_size = names->sh_size;
        }
        return;
    }
}

static void symbols_open(struct symbols *symbols)
{
    *symbols = (struct symbols){0};
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    struct stat status;
    if (!fstat(fd, &status) && status.st_size > 0) {
        void *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file != MAP_FAILED) {
            symbols->file = file;
            symbols->file_size = (size_t)status.st_size;
            symbols_find_table(symbols);
        }
    }
    (void)close(fd);
}

static void symbols_close(struct symbols *symbols)
{
    if (symbols->file)
        (void)munmap(__extension__(void *)(uintptr_t) symbols->file, symbols->file_size);
}

/* The function that ADDRESS of the program lies in, and how far; NULL if nobody knows. */
static const char *symbols_name(const struct symbols *symbols, uintptr_t address, uintptr_t *offset)
{
    uintptr_t wanted = address - program.bias;
    for (size_t i = 0; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->table[i];
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_name >= symbols->names_size ||
            wanted - symbol->st_value >= symbol->st_size)
            continue;
        *offset = wanted - symbol->st_value;
        return symbols->names + symbol->st_name;
    }
    return NULL;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t length;
};

static void line_add(struct line *line, const char *text, size_t length)
{
    if (length > sizeof line->text - 1 - line->length)
        length = sizeof line->text - 1 - line->length;
    memcpy(line->text + line->length, text, length);
    line->length += length;
    line->text[line->length] = '\0';
}

static void line_add_hex(struct line *line, uintptr_t value)
{
    char digits[2 + 2 * sizeof value];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    digits[--at] = 'x';
    digits[--at] = '0';
    line_add(line, digits + at, sizeof digits - at);
}

void torci_linux_backtrace(void *context)
{
    torci_linux_backtrace_prepare(); /* long done where this is a signal handler */
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);
    struct symbols symbols;
    symbols_open(&symbols);
    for (int i = 1; i < count; i++) { /* 0 is this function */
        uintptr_t address = (uintptr_t)frames[i], offset = 0;
        if (address - program.low >= program.high - program.low) {
            backtrace_symbols_fd(&frames[i], 1, STDERR_FILENO);
            continue;
        }
        /* A frame holds where its call returns to, which may be in the next function if the call was the last thing. */
        const char *name = symbols_name(&symbols, address - 1, &offset);
        struct line line = {.length = 0};
        line_add(&line, name ? name : "program", name ? strnlen(name, LINE_MAX_BYTES / 2) : 7);
        line_add(&line, "+", 1);
        line_add_hex(&line, name ? offset + 1 : address - program.bias);
        line_add(&line, " [", 2);
        line_add_hex(&line, address - program.bias); /* what addr2line -e PROGRAM wants */
        line_add(&line, "]", 1);
        torci_linux_report(context, line.text);
    }
    symbols_close(&symbols);
}
