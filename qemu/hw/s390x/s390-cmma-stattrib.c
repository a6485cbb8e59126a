/*
 * s390 collaborative memory management: states for migration
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "migration/vmstate.h"
#include "hw/s390x/s390-written.h"
#include "cpu.h"
#include "s390-cmma-internal.h"

static int cmma_peek_stattr(S390StAttribState *sa, uint64_t start_gfn,
                            uint32_t count, uint8_t *values)
{
    S390CmmaState *s = S390_CMMA(sa);
    uint32_t i;

    if (start_gfn >= s->blocks) {
        return -EFAULT;
    }
    count = MIN(count, s->blocks - start_gfn);
    for (i = 0; i < count; i++) {
        values[i] = cmma_guest_view(cmma_read(s, start_gfn + i));
    }
    return count;
}

/* The next run of changed blocks from *start_gfn on, with wrap-around */
static int cmma_get_stattr(S390StAttribState *sa, uint64_t *start_gfn,
                           uint32_t count, uint8_t *values)
{
    S390CmmaState *s = S390_CMMA(sa);
    uint64_t gfn = *start_gfn < s->blocks ? *start_gfn : 0;
    uint64_t skipped = 0;
    uint32_t i;

    while (!(qatomic_read(&s->state[gfn]) & CMMA_MIG_DIRTY)) {
        if (++skipped == s->blocks) {
            return 0;
        }
        gfn = gfn + 1 < s->blocks ? gfn + 1 : 0;
    }

    *start_gfn = gfn;
    count = MIN(count, s->blocks - gfn);
    for (i = 0; i < count; i++) {
        uint8_t state = qatomic_fetch_and(&s->state[gfn + i],
                                          (uint8_t)~CMMA_MIG_DIRTY);

        if (!(state & CMMA_MIG_DIRTY)) {
            break;
        }
        qatomic_dec(&s->mig_dirty);
        values[i] = cmma_guest_view(state);
    }
    return i;
}

static bool cmma_valid(S390CmmaState *s, uint8_t state)
{
    if (state & ~CMMA_GUEST_BITS) {
        return false;
    }
    switch (state & S390_CMMA_CONTENT) {
    case S390_CMMA_RESIDENT:
        return true;
    case S390_CMMA_PRESERVED:
        return !(state & S390_CMMA_USAGE) || s->policy == S390_CMMA_POLICY_KVM;
    case S390_CMMA_ZERO:
        return (state & S390_CMMA_USAGE) != S390_CMMA_POT_VOLATILE ||
               s->policy == S390_CMMA_POLICY_KVM;
    default:
        return false;
    }
}

static int cmma_set_stattr(S390StAttribState *sa, uint64_t start_gfn,
                           uint32_t count, uint8_t *values)
{
    S390CmmaState *s = S390_CMMA(sa);
    uint32_t i;

    if (start_gfn > s->blocks || count > s->blocks - start_gfn) {
        error_report("Storage attributes beyond the memory of the machine");
        return -EINVAL;
    }
    for (i = 0; i < count; i++) {
        uint8_t state = values[i];

        if (!cmma_valid(s, state)) {
            error_report("Invalid storage attributes 0x%02x", state);
            return -EINVAL;
        }
        /*
         * Preserved content came with the memory. The same holds for all
         * content with KVM, where a mark "zero" says nothing of it.
         */
        if ((state & S390_CMMA_CONTENT) == S390_CMMA_PRESERVED ||
            s->policy == S390_CMMA_POLICY_KVM) {
            state &= ~S390_CMMA_CONTENT;
        }
        qatomic_set(&s->state[start_gfn + i], state);
        /* All memory counts as written at first, but no device wrote this */
        s390_written_clear(start_gfn + i, S390_WRITTEN_CMMA);
    }
    return 0;
}

static int cmma_synchronize(S390StAttribState *sa)
{
    /* cmma_set_stattr() has done everything */
    return 0;
}

static int cmma_set_migrationmode(S390StAttribState *sa, bool value,
                                  Error **errp)
{
    S390CmmaState *s = S390_CMMA(sa);
    uint64_t gfn;

    qatomic_set_mb(&s->migrating, value);
    for (gfn = 0; gfn < s->blocks; gfn++) {
        uint8_t old;

        if (!value) {
            old = qatomic_fetch_and(&s->state[gfn], (uint8_t)~CMMA_MIG_DIRTY);
            qatomic_sub(&s->mig_dirty, !!(old & CMMA_MIG_DIRTY));
        } else if (qatomic_read(&s->state[gfn])) {
            /* The destination starts with stable, resident blocks */
            old = qatomic_fetch_or(&s->state[gfn], CMMA_MIG_DIRTY);
            qatomic_add(&s->mig_dirty, !(old & CMMA_MIG_DIRTY));
        }
    }
    return 0;
}

static long long cmma_get_dirtycount(S390StAttribState *sa)
{
    return qatomic_read(&S390_CMMA(sa)->mig_dirty);
}

static int cmma_get_active(S390StAttribState *sa)
{
    return sa->migration_enabled;
}

/* A guest that was told of discard faults relies on them, whatever comes */
static int cmma_pre_save(void *opaque)
{
    S390CmmaState *s = opaque;

    s->mig_kvm = s->policy == S390_CMMA_POLICY_KVM;
    return 0;
}

static int cmma_post_load(void *opaque, int version_id)
{
    S390CmmaState *s = opaque;

    if (s->mig_kvm != (s->policy == S390_CMMA_POLICY_KVM)) {
        error_report("The guest was told that its host is %s: start this QEMU "
                     "%s s390-cmma.policy=kvm",
                     s->mig_kvm ? "like KVM" : "one that does not lose data",
                     s->mig_kvm ? "with" : "without");
        return -EINVAL;
    }
    return 0;
}

/* A guest without the facility was told nothing */
static bool cmma_vmstate_needed(void *opaque)
{
    return s390_has_feat(S390_FEAT_CMM);
}

const VMStateDescription vmstate_s390_cmma = {
    .name = "s390-cmma",
    .version_id = 1,
    .minimum_version_id = 1,
    /* Before memory, so that the source learns of it and goes on */
    .early_setup = true,
    .needed = cmma_vmstate_needed,
    .pre_save = cmma_pre_save,
    .post_load = cmma_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(mig_kvm, S390CmmaState),
        VMSTATE_END_OF_LIST()
    }
};

void cmma_stattrib_class_init(S390StAttribClass *sac)
{
    sac->synchronize = cmma_synchronize;
    sac->get_stattr = cmma_get_stattr;
    sac->set_stattr = cmma_set_stattr;
    sac->peek_stattr = cmma_peek_stattr;
    sac->set_migrationmode = cmma_set_migrationmode;
    sac->get_dirtycount = cmma_get_dirtycount;
    sac->get_active = cmma_get_active;
}
