/* SPDX-License-Identifier: MIT
 *
 * The context switch. It saves the stack pointer, the frame pointer and the address to resume at, and declares every
 * other register clobbered, so the compiler spills just the values that live across the switch: at most call sites a
 * few. It resumes by an indirect jump; a return would be mispredicted every time, because the return-address stack of
 * the CPU knows nothing of the switch.
 *
 * clang has one more register to be saved, the base pointer (rbx, x19): by it it addresses a frame of a size known at
 * run time only that is large or aligned further than usual, and it ignores a clobber of it without a word. The place
 * that is resumed gets it back itself, from its own context, to which rsi or x1 point at every jump; so code of both
 * compilers can switch to each other, and gcc's does not pay.
 *
 * The switch must be opaque to the optimiser: "memory" does not cover a static variable whose address is never taken,
 * which gcc may keep in a register across the asm. So it always stands between two calls of functions that live in
 * another object, built without LTO: torci_..._begin and torci_switch_end. An unknown function may call back into the
 * caller's file, so every variable is in memory before the first call and read again after the second, and between the
 * two there is nothing that could be moved. The test switch_is_opaque fails without the calls. (To put the switch into
 * such a function, and inline none of it, is just as safe and much slower: the function's return is mispredicted, since
 * the CPU's return-address stack remembers the calls of the task that was left. Two tasks that yield from two places:
 * 20 ns that way, 4 ns this way.)
 *
 * The floating-point control words (MXCSR, x87, FPCR) are not switched: they are the thread's.
 */
#ifndef TORC_CORE_CONTEXT_H
#define TORC_CORE_CONTEXT_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_context {
    void *sp, *fp, *ip;
    void *bp; /* of a place that was compiled by clang */
};

#if defined(__x86_64__)

#ifdef __clang__
#define TORCI_BASE_SAVE "movq %%rbx, 24(%%rdi)\n\t"
#define TORCI_BASE_LOAD "\n\tmovq 24(%%rsi), %%rbx"
#define TORCI_BASE_CLOBBER
#else
#define TORCI_BASE_SAVE
#define TORCI_BASE_LOAD
#define TORCI_BASE_CLOBBER , "rbx"
#endif

#ifdef __AVX512F__
#define TORCI_CLOBBER_WIDE \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", \
        "k7"
#else
#define TORCI_CLOBBER_WIDE
#endif

/* Leaves FROM, to be resumed by a switch to it, and goes on where TO was left. */
static inline __attribute__((always_inline)) void torci_context_switch(struct torci_context *from,
                                                                       struct torci_context *to)
{
    __asm__ volatile(TORCI_BASE_SAVE "leaq 1f(%%rip), %%rax\n\t"
                                     "movq %%rsp, 0(%%rdi)\n\t"
                                     "movq %%rbp, 8(%%rdi)\n\t"
                                     "movq %%rax, 16(%%rdi)\n\t"
                                     "movq 0(%%rsi), %%rsp\n\t"
                                     "movq 8(%%rsi), %%rbp\n\t"
                                     "jmpq *16(%%rsi)\n"
                                     "1:\n\t"
                                     "endbr64" TORCI_BASE_LOAD
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "mm0", "mm1",
                       "mm2", "mm3", "mm4", "mm5", "mm6", "mm7", "st", "st(1)", "st(2)", "st(3)",
                       "st(4)", "st(5)", "st(6)", "st(7)", "memory",
                       "cc" TORCI_BASE_CLOBBER TORCI_CLOBBER_WIDE);
}

/* A context that enters ENTRY on the stack that ends at TOP (16-byte aligned); ENTRY never returns. */
static inline void torci_context_make(struct torci_context *context, void *top, void (*entry)(void))
{
    void **sp = (void **)top - 1;
    *sp = NULL; /* the return address of the outermost frame: where a backtrace ends */
    context->sp = sp;
    context->fp = NULL;
    context->ip = (void *)(uintptr_t)entry;
}

#elif defined(__aarch64__)

#ifdef __clang__
#define TORCI_BASE_SAVE "str x19, [x0, #24]\n\t"
#define TORCI_BASE_LOAD "\n\tldr x19, [x1, #24]"
#define TORCI_BASE_CLOBBER
#else
#define TORCI_BASE_SAVE
#define TORCI_BASE_LOAD
#define TORCI_BASE_CLOBBER , "x19"
#endif

static inline __attribute__((always_inline)) void torci_context_switch(struct torci_context *from,
                                                                       struct torci_context *to)
{
    register struct torci_context *x0 __asm__("x0") = from;
    register struct torci_context *x1 __asm__("x1") = to;
    __asm__ volatile(
        TORCI_BASE_SAVE "adr x2, 1f\n\t"
                        "mov x3, sp\n\t"
                        "stp x3, x29, [x0]\n\t"
                        "str x2, [x0, #16]\n\t"
                        "ldp x3, x29, [x1]\n\t"
                        "ldr x16, [x1, #16]\n\t"
                        "mov sp, x3\n\t"
                        "mov x30, xzr\n\t" /* of a first frame: where a backtrace ends */
                        "br x16\n"         /* x16: a function's "bti c" lets no other branch in */
                        "1:\n\t"
                        "hint #36" /* bti j */
        TORCI_BASE_LOAD
        : "+r"(x0), "+r"(x1)
        :
        : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
          "x16", "x17", "x18", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
          "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",
          "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
          "v27", "v28", "v29", "v30", "v31", "memory", "cc" TORCI_BASE_CLOBBER);
}

static inline void torci_context_make(struct torci_context *context, void *top, void (*entry)(void))
{
    context->sp = top;
    context->fp = NULL;
    context->ip = (void *)(uintptr_t)entry;
}

#else
#error "torc runs on x86-64 and aarch64"
#endif

/* Where a switch goes from and to, as decided by a torci_..._begin. FROM may be TO. */
struct torci_switch {
    struct torci_context *from, *to;
};

/* After every switch, on the stack that was switched to. */
void torci_switch_end(void);

TORC_END_DECLS

#endif
