/*
 * s390 collaborative memory management: the frames of blocks
 *
 * A block that is dropped gives its frame back to the operating system, unless
 * it is poisoned, and is zero when it is accessed again.
 *
 * A block that is paged out is written to the page file, and a private mapping
 * of that part of the file takes the place of its frame. So memory is free,
 * but whoever accesses the block without a translation, be it a device, the
 * monitor or migration, sees the content without knowing of it; a write makes
 * a private copy. A CPU finds the block absent, which is all that paging in
 * has to change.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qapi/error.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "hw/virtio/virtio-balloon.h"
#include "migration/misc.h"
#include "cpu.h"
#include "s390-cmma-internal.h"
#include "trace.h"

/* Whether migration finds out by page faults what is accessed */
static bool cmma_migration_watches(void)
{
    return migration_in_incoming_postcopy() || migration_in_bg_snapshot();
}

/* Whether somebody relies on where guest memory is now */
static bool cmma_memory_stays(void)
{
    return ram_block_discard_is_disabled() || cmma_migration_watches();
}

#ifndef CONFIG_LINUX

bool cmma_page_file_open(S390CmmaState *s, Error **errp)
{
    error_setg(errp, "Property 'page-file' needs Linux");
    return false;
}

int cmma_page_out(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    g_assert_not_reached();
}

static bool cmma_page_forget(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    return false;
}

#else

#include <sys/mman.h>

/* The file has no name afterwards: nobody else can open or truncate it */
bool cmma_page_file_open(S390CmmaState *s, Error **errp)
{
    int fd = qemu_create(s->page_file, O_RDWR | O_EXCL, 0600, errp);

    if (fd < 0) {
        return false;
    }
    unlink(s->page_file);
    if (ftruncate(fd, s->ram_blocks * TARGET_PAGE_SIZE)) {
        error_setg_errno(errp, errno, "Cannot set the size of '%s'",
                         s->page_file);
        close(fd);
        return false;
    }
    s->page_fd = fd;
    s->paged = bitmap_new(s->ram_blocks);
    return true;
}

static int cmma_map(S390CmmaState *s, uint64_t gfn, uint64_t count,
                    int flags, int fd)
{
    void *host = cmma_host(s, gfn);

    if (mmap(host, count * TARGET_PAGE_SIZE, PROT_READ | PROT_WRITE,
             MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE | flags, fd,
             fd < 0 ? 0 : gfn * TARGET_PAGE_SIZE) != host) {
        return -errno;
    }
    return 0;
}

int cmma_page_out(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    const char *from = cmma_host(s, gfn);
    uint64_t at = gfn * TARGET_PAGE_SIZE, left = count * TARGET_PAGE_SIZE;
    int ret;

    /*
     * The file may be mapped here already, as private mapping: it is written
     * with what the mapping holds, so that both stay equal.
     */
    while (left) {
        ssize_t done = RETRY_ON_EINTR(pwrite(s->page_fd, from, left, at));

        if (done <= 0) {
            return done ? -errno : -ENOSPC;
        }
        from += done;
        at += done;
        left -= done;
    }

    /* Too many mappings are an error that changes nothing */
    ret = cmma_map(s, gfn, count, 0, s->page_fd);
    if (!ret) {
        bitmap_set(s->paged, gfn, count);
        trace_s390_cmma_page_out(gfn * TARGET_PAGE_SIZE, count);
    }
    return ret;
}

/* Give blocks of the page file empty frames; whether there were any */
static bool cmma_page_forget(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    if (!s->paged ||
        find_next_bit(s->paged, gfn + count, gfn) == gfn + count) {
        return false;
    }
    if (cmma_memory_stays() || cmma_map(s, gfn, count, MAP_ANONYMOUS, -1)) {
        /* The private copies stay, as zeros; also with too many mappings */
        memset(cmma_host(s, gfn), 0, count * TARGET_PAGE_SIZE);
        return true;
    }
    bitmap_clear(s->paged, gfn, count);
#ifdef CONFIG_FALLOCATE_PUNCH_HOLE
    /* Only to save space: the next page-out overwrites it anyway */
    fallocate(s->page_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              gfn * TARGET_PAGE_SIZE, count * TARGET_PAGE_SIZE);
#endif
    return true;
}

#endif

void cmma_drop(S390CmmaState *s, uint64_t gfn, uint64_t count)
{
    hwaddr offset = gfn * TARGET_PAGE_SIZE;
    uint64_t size = count * TARGET_PAGE_SIZE;
    void *host = cmma_host(s, gfn);

    if (!cmma_page_forget(s, gfn, count) && !s->poison &&
        ram_block_discard_range(s->ram->ram_block, offset, size)) {
        /* The block has to be zero when it is accessed again, no matter what */
        memset(host, 0, size);
    }
    if (s->poison) {
        memset(host, CMMA_POISON, size);
    }
    /* Not "written" for anybody but migration: see s390_written_test() */
    cpu_physical_memory_set_dirty_range(memory_region_get_ram_addr(s->ram) +
                                        offset, size,
                                        1 << DIRTY_MEMORY_MIGRATION);
    trace_s390_cmma_discard(offset, count);
}

static bool cmma_private_memory(S390CmmaState *s)
{
    RAMBlock *rb = s->ram->ram_block;

    return rb->fd < 0 && !qemu_ram_is_shared(rb) &&
           qemu_ram_pagesize(rb) == TARGET_PAGE_SIZE &&
           qemu_real_host_page_size() == TARGET_PAGE_SIZE;
}

bool cmma_can_discard(S390CmmaState *s, Error **errp)
{
    ERRP_GUARD();

    if (!s->poison && !cmma_private_memory(s)) {
        error_setg(errp, "Guest memory of this kind cannot be discarded");
        error_append_hint(errp, "Use private anonymous memory with pages of "
                          "4 KiB, not a file or huge pages, or use "
                          "s390-cmma.poison=on, which frees no memory.\n");
        return false;
    }
    if (s->poison ? cmma_migration_watches() : cmma_memory_stays()) {
        error_setg(errp, "Discarding of guest memory is disabled");
        error_append_hint(errp, "A device or a migration that is active needs "
                          "all guest memory to stay in place.\n");
        return false;
    }
    return true;
}

bool cmma_can_page_out(S390CmmaState *s, Error **errp)
{
    ERRP_GUARD();

    if (!s->page_file) {
        error_setg(errp, "Nothing can be paged out without a page file");
        error_append_hint(errp, "Start QEMU with "
                          "-global s390-cmma.page-file=FILE.\n");
        return false;
    }
    if (!cmma_private_memory(s)) {
        error_setg(errp, "Guest memory of this kind cannot be paged out");
        error_append_hint(errp, "Use private anonymous memory with pages of "
                          "4 KiB, not a file or huge pages.\n");
        return false;
    }
    if (cmma_memory_stays()) {
        error_setg(errp, "Paging out of guest memory is disabled");
        error_append_hint(errp, "A device or a migration that is active needs "
                          "all guest memory to stay in place.\n");
        return false;
    }
    /* What a balloon frees would come back from the page file */
    if (object_resolve_path_type("", TYPE_VIRTIO_BALLOON, NULL)) {
        error_setg(errp, "Guest memory cannot be paged out while it has a "
                   "balloon");
        return false;
    }
    return true;
}
