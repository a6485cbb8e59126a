/*
 * s390 collaborative memory management: the state of a block
 *
 * One byte per block holds usage and content, in the encoding that EXTRACT AND
 * SET STORAGE ATTRIBUTES returns. This file knows how the byte and the frame of
 * a block change together; what they become is decided elsewhere.
 *
 * A block whose content is not resident is in no TLB: s390_cmma_access() sees
 * every translation before it enters one. A block that is resident becomes
 * inaccessible only while no CPU is in cpu_exec(), so that no CPU can be
 * between s390_cmma_access() and the access itself. All other changes of a
 * resident block are a single compare-and-swap of the state byte. A block
 * that is absent changes only under content_lock, because its frame may have
 * to change with it: nobody can make it accessible or hand it to a device
 * halfway.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/lockable.h"
#include "exec/memory.h"
#include "hw/s390x/s390-written.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

S390CmmaState *s390_cmma;

bool cmma_cmpxchg(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new)
{
    if (qatomic_read(&s->migrating)) {
        new |= CMMA_MIG_DIRTY;
    }
    if (qatomic_cmpxchg(&s->state[gfn], old, new) != old) {
        return false;
    }
    if (~old & new & CMMA_MIG_DIRTY) {
        qatomic_inc(&s->mig_dirty);
    }
    return true;
}

static bool cmma_zero(uint8_t state)
{
    return (state & S390_CMMA_CONTENT) == S390_CMMA_ZERO;
}

/* Make the frame what it has to be when @old becomes @new */
static void cmma_change_frame(S390CmmaState *s, uint64_t gfn,
                              uint8_t old, uint8_t new)
{
    if (cmma_preserved(old)) {
        if (cmma_zero(new)) {
            cmma_drop(s, gfn, 1);
        } else if (!cmma_absent(new) && s->paged && test_bit(gfn, s->paged)) {
            stat64_add(&s->paged_in, 1);
            trace_s390_cmma_page_in(gfn * TARGET_PAGE_SIZE);
        }
    } else if (s->poison && cmma_zero(old) && (old & S390_CMMA_USAGE) &&
               (!cmma_absent(new) || !(new & S390_CMMA_USAGE))) {
        memset(cmma_host(s, gfn), 0, TARGET_PAGE_SIZE);
    }
}

bool cmma_change(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new)
{
    if (!cmma_absent(old) || gfn >= s->ram_blocks) {
        return cmma_cmpxchg(s, gfn, old, new);
    }

    QEMU_LOCK_GUARD(&s->content_lock);
    if (qatomic_read(&s->state[gfn]) != old) {
        return false;
    }
    cmma_change_frame(s, gfn, old, new);
    while (!cmma_cmpxchg(s, gfn, old, new)) {
        /* Migration takes no lock, but changes nothing but its own bit */
        old ^= CMMA_MIG_DIRTY;
    }
    return true;
}

uint8_t cmma_accessed(uint8_t state)
{
    if (state & CMMA_OLD) {
        return state & ~(CMMA_OLD | CMMA_ABSENT);
    }
    return state & ~S390_CMMA_CONTENT;
}

uint8_t cmma_guest_view(uint8_t state)
{
    if (!cmma_absent(state)) {
        state &= ~S390_CMMA_CONTENT;
    }
    return state & CMMA_GUEST_BITS;
}

bool cmma_changed(S390CmmaState *s, uint64_t gfn)
{
    return s390_skeys_changed(s->skeys, gfn);
}

/*
 * Devices write to guest memory without a translation. A block that the guest
 * has not given up and that was written while it was absent is resident.
 */
uint8_t cmma_read(S390CmmaState *s, uint64_t gfn)
{
    uint8_t state = qatomic_read(&s->state[gfn]);

    while (cmma_absent(state) && gfn < s->ram_blocks &&
           (!(state & S390_CMMA_USAGE) || s->policy == S390_CMMA_POLICY_KVM) &&
           s390_written_test(gfn, S390_WRITTEN_CMMA)) {
        cmma_change(s, gfn, state, cmma_accessed(state));
        state = qatomic_read(&s->state[gfn]);
    }
    return state;
}
