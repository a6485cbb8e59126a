/*
 * s390 collaborative memory management: policy "kvm"
 *
 * What Linux KVM makes of ESSA, as far as a guest can tell. KVM knows two
 * things of a block: its usage with a mark "logically zero", and whether the
 * host page table entry is valid. The entry of a block that was merely not
 * used for a while is invalid too, so that such a block is "not resident"
 * although its content is there (CMMA_OLD here). An access makes the entry
 * valid whatever the usage is: there is no interruption, and a volatile block
 * that was swapped out and then declared volatile once more reads as zeros.
 *
 * The mark survives the return of an old block; content CMMA_MARK is a valid
 * entry with the mark, which the guest does not see.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "cpu.h"
#include "s390-cmma-internal.h"

/* KVM records changes only once the guest uses storage keys */
static bool cmma_kvm_changed(S390CmmaState *s, uint64_t gfn)
{
    return S390_SKEYS_GET_CLASS(s->skeys)->skeys_are_enabled(s->skeys) &&
           cmma_changed(s, gfn);
}

uint8_t cmma_kvm_next_state(S390CmmaState *s, uint64_t gfn, uint8_t state,
                            unsigned int op)
{
    const bool present = !cmma_absent(state);
    const uint8_t stable = cmma_with_usage(state, S390_CMMA_STABLE);

    switch (op) {
    case ESSA_SET_STABLE:
        return stable & ~S390_CMMA_NODAT;
    case ESSA_SET_UNUSED:
        state = cmma_with_usage(state, S390_CMMA_UNUSED);
        return present ? state : state | S390_CMMA_ZERO;
    case ESSA_SET_POT_VOLATILE:
        if (present) {
            return cmma_with_usage(state, S390_CMMA_POT_VOLATILE);
        }
        if ((state & S390_CMMA_CONTENT) != S390_CMMA_ZERO &&
            cmma_kvm_changed(s, gfn)) {
            return stable;
        }
        /* fall through */
    case ESSA_SET_VOLATILE:
        state = cmma_with_usage(state, S390_CMMA_VOLATILE);
        return present ? state : state | S390_CMMA_ZERO;
    case ESSA_SET_STABLE_RESIDENT:
        return stable;
    case ESSA_SET_STABLE_IF_RESIDENT:
        return present ? stable : state;
    case ESSA_SET_STABLE_NODAT:
        return stable | S390_CMMA_NODAT;
    default:
        return state;
    }
}

/* Writing a swap entry clears the mark; an unused block gets none */
uint8_t cmma_kvm_evicted(uint8_t state)
{
    const bool unused = (state & S390_CMMA_USAGE) == S390_CMMA_UNUSED;
    const uint8_t mark = unused ? state & CMMA_MARK : 0;

    return (state & ~(S390_CMMA_CONTENT | CMMA_OLD)) | CMMA_ABSENT | mark;
}

uint8_t cmma_kvm_aged(uint8_t state)
{
    return state | CMMA_OLD | CMMA_ABSENT;
}
