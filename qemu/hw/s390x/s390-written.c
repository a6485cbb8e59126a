/*
 * s390 written blocks: which 4 KiB blocks of guest memory were written
 *
 * A device that writes to guest memory leaves no trace but the dirty log. The
 * log has one bit per block, and several who want to clear it at different
 * times: a bit that is cleared for one becomes a flag for each of them.
 *
 * The log is that of DIRTY_MEMORY_VGA, which nobody else uses for the initial
 * memory of this machine. Whatever writes behind the back of QEMU (vhost, VFIO)
 * is not in it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "hw/boards.h"
#include "hw/s390x/s390-written.h"

#define ALL_CLIENTS (BIT(S390_WRITTEN_SKEYS) | BIT(S390_WRITTEN_CMMA))

static struct {
    MemoryRegion *ram;
    uint64_t blocks;
    /* Held from when a bit of the log is cleared until the flags are set */
    QemuMutex lock;
    uint8_t *flags;
} written;

static ram_addr_t written_ram_addr(uint64_t gfn)
{
    return memory_region_get_ram_addr(written.ram) + gfn * TARGET_PAGE_SIZE;
}

static bool written_is_set(uint64_t gfn, S390WrittenClient client)
{
    return cpu_physical_memory_get_dirty_flag(written_ram_addr(gfn),
                                              DIRTY_MEMORY_VGA) ||
           (qatomic_read(&written.flags[gfn]) & BIT(client));
}

bool s390_written_test(uint64_t gfn, S390WrittenClient client)
{
    if (gfn >= written.blocks || written_is_set(gfn, client)) {
        return true;
    }

    /* Another thread may be on the way from the bit to the flag */
    QEMU_LOCK_GUARD(&written.lock);
    return written_is_set(gfn, client);
}

/*
 * Not cpu_physical_memory_test_and_clear_dirty(), which walks the list of
 * memory listeners and for that needs the BQL. None of them keeps a dirty log
 * under TCG.
 */
static bool written_test_and_clear_log(uint64_t gfn)
{
    const ram_addr_t addr = written_ram_addr(gfn);
    const uint64_t page = addr >> TARGET_PAGE_BITS;
    bool dirty = false;

    WITH_RCU_READ_LOCK_GUARD() {
        DirtyMemoryBlocks *log =
            qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_VGA]);

        dirty = bitmap_test_and_clear_atomic(
            log->blocks[page / DIRTY_MEMORY_BLOCK_SIZE],
            page % DIRTY_MEMORY_BLOCK_SIZE, 1);
    }
    if (dirty) {
        cpu_physical_memory_dirty_bits_cleared(addr, TARGET_PAGE_SIZE);
    }
    return dirty;
}

void s390_written_clear(uint64_t gfn, S390WrittenClient client)
{
    uint8_t flags;

    if (gfn >= written.blocks) {
        return;
    }

    QEMU_LOCK_GUARD(&written.lock);
    flags = written.flags[gfn];
    /*
     * A device writes first and sets the bit then. If it sets the bit before
     * we clear it, its write came before the end of this call and may go; if
     * later, the bit stays. The first look spares the walk through all TLBs.
     */
    if (cpu_physical_memory_get_dirty_flag(written_ram_addr(gfn),
                                           DIRTY_MEMORY_VGA) &&
        written_test_and_clear_log(gfn)) {
        flags |= ALL_CLIENTS;
    }
    qatomic_set(&written.flags[gfn], flags & ~BIT(client));
}

/* Move the bits of the log to the flags, and clear the flags in @forget */
static void written_harvest(uint64_t gfn, uint64_t count, uint8_t forget)
{
    /* The snapshot takes whole words from the log */
    const uint64_t first = QEMU_ALIGN_DOWN(gfn, BITS_PER_LONG);
    const uint64_t end = MIN(QEMU_ALIGN_UP(gfn + count, BITS_PER_LONG),
                             written.blocks);
    g_autofree DirtyBitmapSnapshot *snapshot = NULL;
    uint64_t i;

    QEMU_LOCK_GUARD(&written.lock);
    /*
     * Not memory_region_snapshot_and_clear_dirty(), which waits for CPUs: one
     * of them may wait for our lock.
     */
    snapshot = cpu_physical_memory_snapshot_and_clear_dirty(written.ram,
                                        first * TARGET_PAGE_SIZE,
                                        (end - first) * TARGET_PAGE_SIZE,
                                        DIRTY_MEMORY_VGA);
    for (i = first; i < end; i++) {
        uint8_t flags = written.flags[i];

        /* Most words are clear: past each in one step */
        if (!forget && QEMU_IS_ALIGNED(i, BITS_PER_LONG) &&
            !cpu_physical_memory_snapshot_get_dirty(snapshot,
                                        written_ram_addr(i),
                                        MIN(BITS_PER_LONG, end - i) *
                                        TARGET_PAGE_SIZE)) {
            i += BITS_PER_LONG - 1;
            continue;
        }
        if (cpu_physical_memory_snapshot_get_dirty(snapshot,
                                                   written_ram_addr(i),
                                                   TARGET_PAGE_SIZE)) {
            flags |= ALL_CLIENTS;
        }
        if (i >= gfn && i - gfn < count) {
            flags &= ~forget;
        }
        if (flags != written.flags[i]) {
            qatomic_set(&written.flags[i], flags);
        }
    }
}

void s390_written_clear_range(uint64_t gfn, uint64_t count,
                              S390WrittenClient client)
{
    if (gfn < written.blocks) {
        written_harvest(gfn, MIN(count, written.blocks - gfn), BIT(client));
    }
}

void s390_written_harvest(void)
{
    written_harvest(0, written.blocks, 0);
}

void s390_written_init(void)
{
    written.ram = MACHINE(qdev_get_machine())->ram;
    written.blocks = memory_region_size(written.ram) / TARGET_PAGE_SIZE;
    written.flags = g_malloc0(written.blocks);
    qemu_mutex_init(&written.lock);
    /* All bits of the log are set from the beginning */
    memory_region_set_log(written.ram, true, DIRTY_MEMORY_VGA);
}
