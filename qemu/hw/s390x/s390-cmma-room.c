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

/* What is left to the cgroup; false: nothing above it bounds us, either */
static bool cmma_cgroup_room(const char *directory, CmmaRoom *room)
{
    uint64_t hierarchy;

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
        /* Without a limit, version 1 has a number that is nearly as large */
        if (limit < INT64_MAX / 2 && limit - MIN(used, limit) < room->left) {
            room->left = limit - MIN(used, limit);
            room->used = used;
        }
    }
    /* Old kernels let version 1 have cgroups that are no part of those above */
    return !cmma_read_number(directory, "memory.use_hierarchy", &hierarchy) ||
           hierarchy;
}

bool cmma_is_cgroup(const char *directory)
{
    uint64_t used;

    for (int i = 0; i < ARRAY_SIZE(cmma_cgroup_files); i++) {
        if (cmma_read_number(directory, cmma_cgroup_files[i].usage, &used)) {
            return true;
        }
    }
    return false;
}

/* Of the whole machine */
static void cmma_machine_room(CmmaRoom *room)
{
    g_autofree char *text = cmma_read_file("/proc", "meminfo");
    uint64_t left = cmma_number_of(text, "MemAvailable:") * KiB;
    uint64_t total = cmma_number_of(text, "MemTotal:") * KiB;

    if (text && left <= total && left < room->left) {
        room->left = left;
        room->used = total - left;
    }
}

/* The line of mountinfo: ... root directory options - type source options */
static char *cmma_cgroup_on(const char *mount, const char *path)
{
    g_auto(GStrv) words = g_strsplit(mount, " ", 6);
    g_autofree char *root = NULL, *directory = NULL;
    size_t length;

    if (g_strv_length(words) < 6) {
        return NULL;
    }
    /* Some characters are escaped, as systemd has names with a backslash */
    root = g_strcompress(words[3]);
    directory = g_strcompress(words[4]);
    length = g_str_equal(root, "/") ? 0 : strlen(root);
    /* In a container, the path can be one outside of what is mounted */
    if (strncmp(path, root, length) ||
        (path[length] && path[length] != '/')) {
        return g_steal_pointer(&directory);
    }
    return g_build_filename(directory, path + length, NULL);
}

/*
 * The directory of QEMU's own memory cgroup, or NULL. That of version 1 is
 * taken if there are both, as a controller is only in one.
 */
static char *cmma_own_cgroup(void)
{
    g_autofree char *groups = cmma_read_file("/proc/self", "cgroup");
    g_autofree char *mounts = cmma_read_file("/proc/self", "mountinfo");
    g_auto(GStrv) lines = g_strsplit(groups ?: "", "\n", -1);
    g_auto(GStrv) mount = g_strsplit(mounts ?: "", "\n", -1);
    char *found = NULL;

    for (int i = 0; lines[i]; i++) {
        /* Number, controllers (none: version 2), path */
        g_auto(GStrv) parts = g_strsplit(lines[i], ":", 3);
        g_auto(GStrv) names = NULL;
        bool two;

        if (g_strv_length(parts) < 3) {
            continue;
        }
        two = !*parts[1];
        names = g_strsplit(parts[1], ",", -1);
        if (two ? !!found : !g_strv_contains((const char *const *)names,
                                             "memory")) {
            continue;
        }
        for (int j = 0; mount[j]; j++) {
            const char *type = strstr(mount[j], two ? " - cgroup2 "
                                                    : " - cgroup ");

            if (type && (two || strstr(type, "memory"))) {
                g_free(found);
                found = cmma_cgroup_on(mount[j], parts[2]);
                break;
            }
        }
    }
    return found;
}

CmmaRoom cmma_room(const char *cgroup)
{
    CmmaRoom room = { .left = UINT64_MAX };
    /* Anew each time, because QEMU can be moved to another one */
    char *directory = cgroup ? g_strdup(cgroup) : cmma_own_cgroup();

    /*
     * A directory can have no such files, because the controller is not enabled
     * there, and those above it have.
     */
    while (directory && cmma_cgroup_room(directory, &room) &&
           !g_str_equal(directory, "/")) {
        char *above = g_path_get_dirname(directory);

        g_free(directory);
        directory = g_path_is_absolute(above) ? above : NULL;
    }
    g_free(directory);
    cmma_machine_room(&room);
    return room;
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
    g_autofree char *own = cgroup ? g_strdup(cgroup) : cmma_own_cgroup();
    g_autofree char *path = g_build_filename(own ?: "", "memory.pressure",
                                             NULL);
    /*
     * In microseconds: so long of two seconds, somebody waits for memory. Who
     * has no privileges may only have multiples of two seconds.
     */
    g_autofree char *trigger = g_strdup_printf("some %" PRIu32 " 2000000",
                                               stall_us);
    int fd;

    if (!own || access(path, W_OK)) {
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
