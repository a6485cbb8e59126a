/*
 * s390 collaborative memory management: how much memory the host has left
 *
 * Knows nothing of blocks and guests. What a process may still use is bounded
 * by its memory cgroup, by each cgroup above that, and by the machine. Files
 * are opened for each look, because a limit, or the cgroup itself, can come and
 * go while QEMU runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/cutils.h"
#include "qapi/error.h"
#include "cpu.h"
#include "s390-cmma-internal.h"

/* The files of a memory cgroup, in its version 1 and 2 */
typedef struct CmmaCgroupFiles {
    const char *usage;
    const char *limits[2];
    /* In memory.stat: what the kernel drops first, at no cost for anybody */
    const char *cache;
} CmmaCgroupFiles;

static const CmmaCgroupFiles cmma_cgroup_files[] = {
    { "memory.current", { "memory.max", "memory.high" }, "inactive_file " },
    { "memory.usage_in_bytes", { "memory.limit_in_bytes", NULL },
      "total_inactive_file " },
};

static char *cmma_read_file(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

/* The number that follows @name at the start of a line of @text, or 0 */
static uint64_t cmma_number_of(const char *text, const char *name)
{
    uint64_t value = 0;
    const char *p;

    for (p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
        if (g_str_has_prefix(p, name)) {
            qemu_strtou64(p + strlen(name), &p, 10, &value);
            break;
        }
    }
    return value;
}

/* Whether a file says a number; "max" is none */
static bool cmma_read_number(const char *directory, const char *name,
                             uint64_t *value)
{
    g_autofree char *text = cmma_read_file(directory, name);

    return text && !qemu_strtou64(g_strstrip(text), NULL, 10, value);
}

/* What is left to the cgroup; whether @directory is a memory cgroup at all */
static bool cmma_cgroup_room(const char *directory, CmmaRoom *room)
{
    for (int i = 0; i < ARRAY_SIZE(cmma_cgroup_files); i++) {
        const CmmaCgroupFiles *files = &cmma_cgroup_files[i];
        g_autofree char *stat = NULL;
        uint64_t limit = UINT64_MAX, value, used;

        if (!cmma_read_number(directory, files->usage, &used)) {
            continue;
        }
        for (int j = 0; j < ARRAY_SIZE(files->limits); j++) {
            if (files->limits[j] &&
                cmma_read_number(directory, files->limits[j], &value)) {
                limit = MIN(limit, value);
            }
        }
        stat = cmma_read_file(directory, "memory.stat");
        value = cmma_number_of(stat, files->cache);
        used -= MIN(used, value);
        room->known = true;
        /* Without a limit, version 1 has a number that is nearly as large */
        if (limit < INT64_MAX / 2 && limit - MIN(used, limit) < room->left) {
            room->left = limit - MIN(used, limit);
            room->used = used;
        }
        return true;
    }
    return false;
}

/* Of the whole machine */
static void cmma_machine_room(CmmaRoom *room)
{
    g_autofree char *text = cmma_read_file("/proc", "meminfo");
    uint64_t left = cmma_number_of(text, "MemAvailable:") * KiB;
    uint64_t total = cmma_number_of(text, "MemTotal:") * KiB;

    if (text && left <= total) {
        room->known = true;
        if (left < room->left) {
            room->left = left;
            room->used = total - left;
        }
    }
}

CmmaRoom cmma_room(const char *cgroup)
{
    g_autofree char *directory = g_strdup(cgroup);
    CmmaRoom room = { .left = UINT64_MAX };

    while (directory && cmma_cgroup_room(directory, &room)) {
        char *above = g_path_get_dirname(directory);

        g_free(directory);
        directory = above;
    }
    cmma_machine_room(&room);
    return room;
}

/* The line of mountinfo: ... root directory options - type source options */
static char *cmma_cgroup_on(const char *mount, const char *path)
{
    g_auto(GStrv) words = g_strsplit(mount, " ", -1);
    const char *rest;

    if (g_strv_length(words) < 5) {
        return NULL;
    }
    /* In a container, the path can be one outside of what is mounted */
    rest = g_str_equal(words[3], "/") ? path :
           g_str_has_prefix(path, words[3]) ? path + strlen(words[3]) : "";
    return g_build_filename(words[4], rest, NULL);
}

char *cmma_own_cgroup(void)
{
    g_autofree char *groups = cmma_read_file("/proc/self", "cgroup");
    g_autofree char *mounts = cmma_read_file("/proc/self", "mountinfo");
    g_auto(GStrv) lines = g_strsplit(groups ?: "", "\n", -1);
    g_auto(GStrv) mount = g_strsplit(mounts ?: "", "\n", -1);
    char *found = NULL;

    for (int i = 0; lines[i] && !found; i++) {
        /* Number, controllers (none: version 2), path */
        g_auto(GStrv) parts = g_strsplit(lines[i], ":", 3);
        g_auto(GStrv) names = NULL;
        bool two;

        if (g_strv_length(parts) < 3) {
            continue;
        }
        two = !*parts[1];
        names = g_strsplit(parts[1], ",", -1);
        if (!two && !g_strv_contains((const char *const *)names, "memory")) {
            continue;
        }
        for (int j = 0; mount[j] && !found; j++) {
            const char *type = strstr(mount[j], two ? " - cgroup2 "
                                                    : " - cgroup ");
            CmmaRoom room = { .left = UINT64_MAX };

            if (type && (two || strstr(type, "memory"))) {
                found = cmma_cgroup_on(mount[j], parts[2]);
            }
            if (found && !cmma_cgroup_room(found, &room)) {
                g_clear_pointer(&found, g_free);
            }
        }
    }
    return found;
}

uint64_t cmma_own_resident(void)
{
    g_autofree char *text = cmma_read_file("/proc/self", "statm");
    const char *p = text;
    uint64_t pages = 0;

    if (p && !qemu_strtou64(p, &p, 10, &pages)) {
        qemu_strtou64(p, NULL, 10, &pages);
    }
    return pages * qemu_real_host_page_size();
}

int cmma_stall_open(const char *cgroup, uint32_t stall_us, Error **errp)
{
    g_autofree char *path = g_build_filename(cgroup ?: "", "memory.pressure",
                                             NULL);
    /*
     * In microseconds: so long of two seconds, somebody waits for memory. Who
     * has no privileges may only have multiples of two seconds.
     */
    g_autofree char *trigger = g_strdup_printf("some %" PRIu32 " 2000000",
                                               stall_us);
    int fd;

    if (!cgroup || access(path, W_OK)) {
        g_free(path);
        path = g_strdup("/proc/pressure/memory");
    }
    fd = qemu_open(path, O_RDWR | O_NONBLOCK, errp);
    if (fd >= 0 && write(fd, trigger, strlen(trigger) + 1) < 0) {
        error_setg_errno(errp, errno, "'%s' does not take the trigger '%s'",
                         path, trigger);
        close(fd);
        fd = -1;
    }
    return fd;
}
