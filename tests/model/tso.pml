/* SPDX-License-Identifier: MIT
 *
 * Memory as x86-64 has it (total store order), for Spin. Each CPU has a FIFO of stores that nobody else sees yet;
 * they reach memory one by one, at any later moment. A load finds its own CPU's newest store, else memory. A fence
 * waits until the CPU's FIFO is empty; a locked instruction does so too and then works on memory in one step.
 *
 * Whoever includes this defines CPUS and CELLS. Values are bytes. A full FIFO stalls its CPU: DEPTH bounds how far
 * stores may lag, and is more than any stretch of the protocol writes between two fences.
 */
#ifndef DEPTH
#define DEPTH 4
#endif

typedef fifo {
    byte used;
    byte cell[DEPTH];
    byte value[DEPTH]
};
byte mem[CELLS];
fifo pending[CPUS];

inline store(cpu_, cell_, value_)
{
    atomic {
        pending[cpu_].used < DEPTH;
        pending[cpu_].cell[pending[cpu_].used] = cell_;
        pending[cpu_].value[pending[cpu_].used] = value_;
        pending[cpu_].used++
    }
}

/* STEP is a scratch variable of the caller: zero before and after, so that it makes no states. */
inline load(cpu_, cell_, result_)
{
    d_step {
        result_ = mem[cell_];
        do
        :: step < pending[cpu_].used ->
            if
            :: pending[cpu_].cell[step] == cell_ -> result_ = pending[cpu_].value[step]
            :: else
            fi;
            step++
        :: else -> break
        od;
        step = 0
    }
}

#define drained(cpu_) (pending[cpu_].used == 0)
#define fence(cpu_) drained(cpu_)

inline exchange(cpu_, cell_, value_, old_)
{
    atomic { drained(cpu_); old_ = mem[cell_]; mem[cell_] = value_ }
}
inline fetch_or(cpu_, cell_, bits_, old_)
{
    atomic { drained(cpu_); old_ = mem[cell_]; mem[cell_] = mem[cell_] | (bits_) }
}
inline fetch_and(cpu_, cell_, bits_)
{
    atomic { drained(cpu_); mem[cell_] = mem[cell_] & (bits_) }
}

/* Lets the oldest store of any CPU reach memory. It has nothing to do for good once all have stopped. */
active proctype Memory()
{
    byte cpu = 0, step = 0;
end:
    do
    :: atomic {
        if
        :: pending[0].used -> cpu = 0
#if CPUS > 1
        :: pending[1].used -> cpu = 1
#endif
#if CPUS > 2
        :: pending[2].used -> cpu = 2
#endif
#if CPUS > 3
        :: pending[3].used -> cpu = 3
#endif
        fi;
        d_step {
            mem[pending[cpu].cell[0]] = pending[cpu].value[0];
            pending[cpu].used--;
            do
            :: step < pending[cpu].used ->
                pending[cpu].cell[step] = pending[cpu].cell[step + 1];
                pending[cpu].value[step] = pending[cpu].value[step + 1];
                step++
            :: else -> break
            od;
            pending[cpu].cell[step] = 0;
            pending[cpu].value[step] = 0;
            step = 0;
            cpu = 0
        }
    }
    od
}
