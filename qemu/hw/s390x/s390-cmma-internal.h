/*
 * s390 collaborative memory management: what the parts of the device share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_S390_CMMA_INTERNAL_H
#define HW_S390_CMMA_INTERNAL_H

#include "qemu/stats64.h"
#include "qemu/thread.h"
#include "qapi/error.h"
#include "qapi/qapi-types-machine-target.h"
#include "exec/memory.h"
#include "hw/s390x/s390-cmma.h"
#include "hw/s390x/storage-attributes.h"
#include "hw/s390x/storage-keys.h"

/*
 * The state byte is what ESSA returns, and two bits of our own: "old" is for
 * policy "kvm", s390-cmma-kvm.c, the other one is not yet sent by migration.
 */
#define CMMA_OLD                    0x40
#define CMMA_MIG_DIRTY              0x80
#define CMMA_GUEST_BITS             (S390_CMMA_USAGE | S390_CMMA_CONTENT | \
                                     S390_CMMA_NODAT)

/* Set in every content state in which a CPU cannot just access the block */
#define CMMA_ABSENT                 0x02

/* Policy "kvm": the mark "logically zero"; both together are content "zero" */
#define CMMA_MARK                   0x01

/* What poisoned blocks are filled with */
#define CMMA_POISON                 0xd1

/*
 * When a block was used last is known in these, and what is longer ago than
 * four minutes is just old. What is above the time says in how many seconds it
 * was used, see cmma_note_use().
 */
#define CMMA_AGES_PER_SECOND        16
#define CMMA_AGE_MAX                (240 * CMMA_AGES_PER_SECOND)
#define CMMA_TIME                   0x3fff
#define CMMA_USES_SHIFT             14
#define CMMA_USES_MAX               3

typedef struct CmmaRoom {
    uint64_t left;          /* bytes; UINT64_MAX if nothing is known */
    uint64_t used;          /* of what has the least left */
} CmmaRoom;

/* What policy "pressure" has taken, and how it went */
typedef struct CmmaPressureStats {
    uint64_t episodes;
    uint64_t stalls;
    uint64_t exhausted;
    uint64_t refused;
    uint64_t taken_unused;
    uint64_t taken_volatile;
    uint64_t longest_ns;
} CmmaPressureStats;

/* Policy "pressure"; BQL, but for what CPUs write and read */
typedef struct CmmaPressure {
    /* Properties; the first one is NULL for the cgroup of QEMU itself */
    char *cgroup;
    uint64_t low;
    uint64_t high;
    uint32_t stall_us;

    /* NULL unless this is the policy */
    QEMUTimer *timer;
    char *directory;        /* of the cgroup, or NULL for QEMU's own */
    int stall_fd;
    guint stall_source;

    /* When blocks were used last, in 1 / CMMA_AGES_PER_SECOND; CPUs write it */
    uint16_t *used;
    uint16_t now;
    int64_t bounded_ms;     /* when no age was beyond what that can tell */

    bool stalled;
    bool acting;
    bool exhausted;
    S390CmmaPressureReason reason;
    uint64_t round;         /* blocks that are still to be taken in this one */
    uint64_t round_taken;
    int64_t wait_until;     /* ms */
    uint64_t want;          /* blocks, of an episode that a stall began */
    int64_t judge_ms;       /* when to see again if more or less is left: */
    uint64_t judged_left;   /* what was left the last time */
    unsigned int still;     /* times that this was the same */
    uint64_t mean_left;
    int64_t replan_ms;      /* when to count blocks again */
    bool plenty;            /* there were enough that are so old */
    unsigned int boost;     /* times the own share */
    uint8_t usage;          /* of those that are searched */
    uint16_t min_age;       /* of those that are volatile, at this time: */
    uint16_t planned;       /* CPUs do not look at it */
    uint64_t passed;        /* blocks looked at since one was taken */
    CmmaRoom room;
    CmmaPressureStats before;
    CmmaPressureStats stats;
} CmmaPressure;

OBJECT_DECLARE_TYPE(S390CmmaState, S390CmmaClass, S390_CMMA)

struct S390CmmaState {
    S390StAttribState parent_obj;

    S390CmmaPolicy policy;
    S390CmmaStrictUnused strict_unused;
    uint64_t seed;
    uint8_t percent;
    bool poison;
    bool guest_discard;
    char *page_file;
    bool requires_discard;

    S390SKeysState *skeys;

    uint8_t *state;
    uint64_t blocks;

    /* Blocks can be taken away from initial memory, [0, ram_blocks) */
    MemoryRegion *ram;
    uint64_t ram_blocks;

    /*
     * Serializes everything that changes the content state of a block. Taken
     * by CPUs in cpu_exec(), which may be translating code, under the BQL and
     * in exclusive sections. So its owner must not wait for the BQL or for a
     * CPU to leave cpu_exec(), nor invalidate code while CPUs run.
     */
    QemuMutex content_lock;

    /* Where the search for blocks of each usage goes on; content_lock */
    uint64_t hand[4];

    CmmaPressure pressure;

    /* Blocks whose frame is a mapping of the page file */
    int page_fd;
    unsigned long *paged;

    bool migrating;
    size_t mig_dirty;
    bool mig_kvm;
    Error *mig_blocker;

    size_t draws;
    Stat64 essa[ESSA_NUM_OPS];
    Stat64 discards;
    Stat64 faults;
    Stat64 violations;
    Stat64 device_violations;
    Stat64 paged_out;
    Stat64 paged_in;
    uint64_t stops;
};

struct S390CmmaClass {
    S390StAttribClass parent_class;
    DeviceRealize parent_realize;
};

/* NULL unless TCG runs the machine; s390-cmma-state.c */
extern S390CmmaState *s390_cmma;

static inline bool cmma_is(uint8_t state, uint8_t usage, uint8_t content)
{
    return (state & (S390_CMMA_USAGE | S390_CMMA_CONTENT)) ==
           (usage | content);
}

static inline uint8_t cmma_with_usage(uint8_t state, uint8_t usage)
{
    return (state & ~S390_CMMA_USAGE) | usage;
}

static inline bool cmma_absent(uint8_t state)
{
    return state & CMMA_ABSENT;
}

static inline bool cmma_preserved(uint8_t state)
{
    return (state & (S390_CMMA_CONTENT | CMMA_OLD)) == S390_CMMA_PRESERVED;
}

/* Whether a CPU that accesses the block has to do more than just that */
static inline bool cmma_traps(S390CmmaState *s, uint8_t state)
{
    return cmma_absent(state) ||
           (s->strict_unused == S390_CMMA_STRICT_UNUSED_ALL &&
            (state & S390_CMMA_USAGE) == S390_CMMA_UNUSED);
}

/* The block has no content that would be used again; only with "pressure" */
static inline void cmma_note_new(S390CmmaState *s, uint64_t gfn)
{
    uint16_t *used = qatomic_read(&s->pressure.used);

    if (unlikely(used) && gfn < s->ram_blocks) {
        qatomic_set(&used[gfn], qatomic_read(&s->pressure.now));
    }
}

/*
 * The block is used; only with policy "pressure". Two CPUs may do that at once:
 * then a use is not counted, and nobody relies on the count.
 */
static inline void cmma_note_use(S390CmmaState *s, uint64_t gfn)
{
    uint16_t *used = qatomic_read(&s->pressure.used);

    if (unlikely(used) && gfn < s->ram_blocks) {
        uint16_t now = qatomic_read(&s->pressure.now);
        uint16_t old = qatomic_read(&used[gfn]);
        uint16_t uses = old >> CMMA_USES_SHIFT;

        uses += uses < CMMA_USES_MAX && now / CMMA_AGES_PER_SECOND !=
                                (old & CMMA_TIME) / CMMA_AGES_PER_SECOND;
        qatomic_set(&used[gfn], now | uses << CMMA_USES_SHIFT);
    }
}

/*
 * How long ago the block was used, at the time of the plan: if it was used
 * since, this is 0. What is used again and again is younger: who reads large
 * files once would otherwise take what others need now and then. A block whose
 * content arrives and is read was used in two seconds at most.
 */
static inline uint16_t cmma_age_of(S390CmmaState *s, uint16_t used)
{
    static const uint8_t shift[] = { 0, 0, 2, 3 };
    uint16_t age = (s->pressure.now - used) & CMMA_TIME;
    uint16_t since = (s->pressure.now - s->pressure.planned) & CMMA_TIME;

    age -= MIN(age, since);
    return age < CMMA_AGE_MAX ? age >> shift[used >> CMMA_USES_SHIFT] :
                                CMMA_AGE_MAX;
}

static inline uint16_t cmma_age(S390CmmaState *s, uint64_t gfn)
{
    return cmma_age_of(s, qatomic_read(&s->pressure.used[gfn]));
}

static inline void *cmma_host(S390CmmaState *s, uint64_t gfn)
{
    return memory_region_get_ram_ptr(s->ram) + gfn * TARGET_PAGE_SIZE;
}

/*
 * A file calls what is declared before its own section, and nothing after it.
 *
 * The frame of a block, s390-cmma-page.c:
 */

bool cmma_can_discard(S390CmmaState *s, Error **errp);
bool cmma_can_page_out(S390CmmaState *s, Error **errp);
/*
 * Throw the content of blocks away that no CPU can access, and of which there
 * is no translated code; content_lock
 */
void cmma_drop(S390CmmaState *s, uint64_t gfn, uint64_t count);
bool cmma_page_file_open(S390CmmaState *s, Error **errp);
/* Returns 0, or a negative errno, and then the blocks are as they were */
int cmma_page_out(S390CmmaState *s, uint64_t gfn, uint64_t count);

/* The state of a block, s390-cmma-state.c: */

/*
 * Change the state of block @gfn if it still is @old, and its frame with it.
 * Not for making a block inaccessible that was accessible.
 */
bool cmma_change(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new);
/* Only the state; the caller sees to the frame and holds content_lock */
bool cmma_cmpxchg(S390CmmaState *s, uint64_t gfn, uint8_t old, uint8_t new);
uint8_t cmma_read(S390CmmaState *s, uint64_t gfn);
/* The state of @state after a CPU or a device has accessed the block */
uint8_t cmma_accessed(uint8_t state);
/* The bits of @state that ESSA returns */
uint8_t cmma_guest_view(uint8_t state);
/* Whether the content of the block has to be kept if it is of usage P */
bool cmma_changed(S390CmmaState *s, uint64_t gfn);

/* Linux KVM as host, s390-cmma-kvm.c: */

uint8_t cmma_kvm_next_state(S390CmmaState *s, uint64_t gfn, uint8_t state,
                            unsigned int op);
/* What the host makes of a block that it swaps out or finds old */
uint8_t cmma_kvm_evicted(uint8_t state);
uint8_t cmma_kvm_aged(uint8_t state);

/* States for migration, s390-cmma-stattrib.c: */

extern const VMStateDescription vmstate_s390_cmma;
void cmma_stattrib_class_init(S390StAttribClass *sac);

/* Taking blocks away, s390-cmma-discard.c: */

/* Whether the policy takes a block that has just become volatile */
bool cmma_policy_discards(S390CmmaState *s);
/* Safe work on the block whose number is @data: no CPU is in cpu_exec() */
void cmma_work_flush(CPUState *cs, run_on_cpu_data data);
void cmma_work_discard(CPUState *cs, run_on_cpu_data data);

/* What may be taken, until when, and what was */
typedef struct CmmaQuota {
    uint64_t count;         /* what is left of it: nothing more was found */
    int64_t limit_ns;       /* CPUs stay stopped for so long; 0: any time */
    bool strict;            /* also while nothing has been found */
    uint8_t usage;          /* only such blocks; 0: as the command says */
    uint16_t min_age;       /* of volatile blocks */
    uint64_t taken;
    uint64_t looked;        /* blocks looked at */
    bool vcpus_stopped;
    int64_t elapsed_ns;
    int64_t end;            /* for the search itself */
} CmmaQuota;

/* Whether the host may take the frame without I/O */
bool cmma_may_take(S390CmmaState *s, uint64_t gfn, uint8_t state);
/* Stop the CPUs once and take blocks */
bool cmma_discard(S390CmmaState *s, S390CmmaDiscardWhat what, CmmaQuota *quota,
                  Error **errp);

/* How much memory the host has left, s390-cmma-room.c: */

/* @cgroup: a directory, or NULL for that of QEMU itself */
CmmaRoom cmma_room(const char *cgroup);
bool cmma_is_cgroup(const char *directory);
/* Bytes of QEMU itself */
uint64_t cmma_own_resident(void);
/* What has G_IO_PRI when of two seconds somebody waited for so long, or -1 */
int cmma_stall_open(const char *cgroup, uint32_t stall_us, Error **errp);

/* Discarding when memory is short, s390-cmma-pressure.c: */

#ifdef CONFIG_LINUX
bool cmma_pressure_start(S390CmmaState *s, Error **errp);
void cmma_pressure_stop(S390CmmaState *s);
#else
static inline bool cmma_pressure_start(S390CmmaState *s, Error **errp)
{
    error_setg(errp, "Policy 'pressure' needs Linux");
    return false;
}

static inline void cmma_pressure_stop(S390CmmaState *s)
{
}
#endif

#endif
