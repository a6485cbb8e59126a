/*
 * QTest testcase for the block states of s390x guests with TCG
 *
 * The guest waits for the test to hand it one instruction, executes it, and
 * says what came of it. So every change of a state is made by a CPU, and the
 * test looks at it from the side of the host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"

#define BLOCK_SIZE      4096
#define BLOCKS          4096            /* 16 MiB */

/* States, as ESSA encodes them */
enum {
    SR = 0x00, SP = 0x02, SZ = 0x03,
    UR = 0x04, UZ = 0x07,
    PR = 0x08,
    VR = 0x0c, VZ = 0x0f,
};

/* Operations of ESSA */
enum {
    GET, STABLE, UNUSED, VOLATILE, POT_VOLATILE,
    STABLE_RESIDENT, STABLE_IF_RESIDENT,
    DISCARD = 15,
};

/* Program interruption codes */
#define PGM_ADDRESSING          0x05
#define PGM_SPECIFICATION       0x06
#define PGM_BLOCK_VOLATILITY    0x1a

/* What the guest can be told to execute: %r2 is an address, %r1 a value */
#define INSN_ESSA(op)   (0xb9ab0012 | (op) << 12)   /* essa %r1,%r2,op */
#define INSN_LOAD       0x43102000                  /* ic   %r1,0(%r2) */
#define INSN_STORE      0x42102000                  /* stc  %r1,0(%r2) */
#define INSN_SET_KEY    0xb22b0012                  /* sske %r1,%r2 */

/* Places in the first block of the guest, which holds all of its program */
#define GUEST_INSN      0x216
#define GUEST_GO        0x300
#define GUEST_PGM_CODE  0x304
#define GUEST_ADDRESS   0x308
#define GUEST_VALUE     0x310
#define LOWCORE_TEID    0xa8

static const uint8_t guest_psw[] = {
    0x00, 0x08, 0x00, 0x00, 0x80, 0x00, 0x02, 0x00,
};

static const uint8_t guest_pgm_new_psw[] = {            /* at 0x1d0 */
    0x00, 0x00, 0x00, 0x01, 0x80, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x2a,
};

static const uint8_t guest_code[] = {                   /* at 0x200 */
    0xe3, 0x00, 0x03, 0x00, 0x00, 0x12, /* wait: lt   %r0,GO */
    0xa7, 0x84, 0xff, 0xfd,             /*       jz   wait */
    0xe3, 0x20, 0x03, 0x08, 0x00, 0x04, /*       lg   %r2,ADDRESS */
    0xe3, 0x10, 0x03, 0x10, 0x00, 0x04, /*       lg   %r1,VALUE */
    0x47, 0x00, 0x00, 0x00,             /* insn: the test writes it */
    0xe3, 0x10, 0x03, 0x10, 0x00, 0x24, /*       stg  %r1,VALUE */
    0xe5, 0x4c, 0x03, 0x00, 0x00, 0x00, /* done: mvhi GO,0 */
    0xa7, 0xf4, 0xff, 0xed,             /*       j    wait */
    0xd2, 0x01, 0x03, 0x04, 0x00, 0x8e, /* pgm:  mvc  PGM_CODE(2),0x8e */
    0xa7, 0xf4, 0xff, 0xf8,             /*       j    done */
};

static char *kernel;        /* the file with the guest's program */
static char *scratch;       /* a directory for files of single tests */

static void make_files(void)
{
    uint8_t image[GUEST_VALUE + 8] = { };
    g_autoptr(GError) err = NULL;

    memcpy(image, guest_psw, sizeof(guest_psw));
    memcpy(image + 0x1d0, guest_pgm_new_psw, sizeof(guest_pgm_new_psw));
    memcpy(image + 0x200, guest_code, sizeof(guest_code));

    scratch = g_dir_make_tmp("qtest-s390-cmma-XXXXXX", &err);
    g_assert_no_error(err);
    kernel = g_build_filename(scratch, "kernel", NULL);
    g_file_set_contents(kernel, (char *)image, sizeof(image), &err);
    g_assert_no_error(err);
}

static void remove_files(void)
{
    g_unlink(kernel);
    g_rmdir(scratch);
    g_free(kernel);
    g_free(scratch);
}

/* The command line; @options contains %s where @scratch goes, or not */
static char *command_line(const char *accel, const char *options)
{
    g_autofree char *tail = g_strdup_printf(options, scratch);

    return g_strdup_printf("-accel %s -machine s390-ccw-virtio -cpu %s -m 16M "
                           "-nodefaults -kernel %s %s", accel,
                           g_str_equal(accel, "tcg") ? "max" : "qemu",
                           kernel, tail);
}

static QTestState *start(const char *options)
{
    g_autofree char *args = command_line("tcg", options);

    return qtest_init(args);
}

/*
 * Have the guest execute @insn on @block.
 *
 * Returns: the program interruption code, 0 without one
 */
static int execute(QTestState *qts, uint32_t insn, uint64_t block,
                   uint64_t *value)
{
    int64_t end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    qtest_writel(qts, GUEST_INSN, insn);
    qtest_writeq(qts, GUEST_ADDRESS, block * BLOCK_SIZE);
    qtest_writeq(qts, GUEST_VALUE, *value);
    qtest_writew(qts, GUEST_PGM_CODE, 0);
    qtest_writel(qts, GUEST_GO, 1);
    while (qtest_readl(qts, GUEST_GO)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(100);
    }
    *value = qtest_readq(qts, GUEST_VALUE);
    return qtest_readw(qts, GUEST_PGM_CODE);
}

/* Returns: the state before */
static uint8_t essa(QTestState *qts, unsigned int op, uint64_t block)
{
    uint64_t value = -1;

    g_assert_cmphex(execute(qts, INSN_ESSA(op), block, &value), ==, 0);
    return value;
}

static void essa_range(QTestState *qts, unsigned int op, uint64_t first,
                       uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        essa(qts, op, first + i);
    }
}

static uint8_t load(QTestState *qts, uint64_t block)
{
    uint64_t value = 0;

    g_assert_cmphex(execute(qts, INSN_LOAD, block, &value), ==, 0);
    return value;
}

static void store(QTestState *qts, uint64_t block, uint64_t value)
{
    g_assert_cmphex(execute(qts, INSN_STORE, block, &value), ==, 0);
}

/* Storage key 0: neither referenced nor changed */
static void clear_key(QTestState *qts, uint64_t block)
{
    uint64_t value = 0;

    g_assert_cmphex(execute(qts, INSN_SET_KEY, block, &value), ==, 0);
}

static int load_fails(QTestState *qts, uint64_t block)
{
    uint64_t value = 0;

    return execute(qts, INSN_LOAD, block, &value);
}

static QDict *query(QTestState *qts)
{
    return qtest_qmp_assert_success_ref(qts,
        "{'execute': 'x-query-s390-cmma', 'arguments': {'map': true}}");
}

/* Assert that the map is a map. Returns: the state of @block in it */
static int state_in_map(QDict *info, uint64_t block)
{
    QList *map = qdict_get_qlist(info, "map");
    const QListEntry *entry;
    uint64_t next = 0;
    int last = -1, found = -1;

    g_assert_nonnull(map);
    QLIST_FOREACH_ENTRY(map, entry) {
        QDict *run = qobject_to(QDict, qlist_entry_obj(entry));
        uint64_t first = qdict_get_int(run, "first");
        uint64_t count = qdict_get_int(run, "count");
        int state = qdict_get_int(run, "state");

        g_assert_cmpuint(first, ==, next);
        g_assert_cmpuint(count, >, 0);
        g_assert_cmphex(state, !=, last);
        if (block >= first && block - first < count) {
            found = state;
        }
        next = first + count;
        last = state;
    }
    g_assert_cmpuint(next, ==, BLOCKS);
    return found;
}

static int state_of(QTestState *qts, uint64_t block)
{
    QDict *info = query(qts);
    int state = state_in_map(info, block);

    qobject_unref(info);
    return state;
}

static uint64_t pages_in(QTestState *qts, const char *state)
{
    QDict *info = query(qts);
    uint64_t count = qdict_get_int(qdict_get_qdict(info, "pages"), state);

    qobject_unref(info);
    return count;
}

static uint64_t counter(QTestState *qts, const char *name)
{
    QDict *info = query(qts);
    uint64_t count = qdict_get_int(info, name);

    qobject_unref(info);
    return count;
}

static uint64_t essa_counter(QTestState *qts, unsigned int op)
{
    QDict *info = query(qts);
    const QListEntry *entry = qlist_first(qdict_get_qlist(info, "essa"));
    uint64_t count;

    while (op--) {
        entry = qlist_next(entry);
    }
    count = qnum_get_uint(qobject_to(QNum, qlist_entry_obj(entry)));
    qobject_unref(info);
    return count;
}

/* Returns: how many blocks the host has taken; @count is -1 for all */
static uint64_t discard(QTestState *qts, const char *what, int64_t count)
{
    uint64_t discarded, stops = counter(qts, "stops");
    QDict *info;

    if (count < 0) {
        info = qtest_qmp_assert_success_ref(qts,
            "{'execute': 'x-s390-cmma-discard', 'arguments': {'what': %s}}",
            what);
    } else {
        info = qtest_qmp_assert_success_ref(qts,
            "{'execute': 'x-s390-cmma-discard', 'arguments': "
            "{'what': %s, 'count': %" PRId64 "}}", what, count);
    }
    discarded = qdict_get_int(info, "discarded");
    g_assert_true(qdict_get_bool(info, "vcpus-stopped"));
    qobject_unref(info);
    g_assert_cmpuint(counter(qts, "stops"), ==, stops + 1);
    return discarded;
}

static void assert_discard_refused(QTestState *qts, const char *what,
                                   const char *why)
{
    QDict *error = qtest_qmp_assert_failure_ref(qts,
        "{'execute': 'x-s390-cmma-discard', 'arguments': {'what': %s}}", what);
    const char *text = qdict_get_str(error, "desc");

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    if (!strstr(text, why)) {
        g_test_message("'%s' does not contain '%s'", text, why);
        g_assert_not_reached();
    }
    qobject_unref(error);
}

static void assert_bytes(QTestState *qts, uint64_t block, uint8_t byte)
{
    uint8_t content[BLOCK_SIZE];

    qtest_memread(qts, block * BLOCK_SIZE, content, sizeof(content));
    for (int i = 0; i < BLOCK_SIZE; i++) {
        g_assert_cmphex(content[i], ==, byte);
    }
}

/* Properties: */

/* Memory that cannot be returned to the operating system block by block */
#define SHARED_RAM "-object memory-backend-ram,id=ram,size=16M,share=on " \
                   "-machine memory-backend=ram"

typedef struct BadOptions {
    const char *name;
    const char *options;        /* %s is the directory for files */
    const char *error;          /* part of what QEMU says before it exits */
} BadOptions;

static const BadOptions bad_options[] = {
    { "policy", "-global s390-cmma.policy=nonsense", "'nonsense'" },
    { "percent", "-global s390-cmma.percent=101", "between 0 and 100" },
    { "percent-type", "-global s390-cmma.percent=256", "'percent'" },
    { "strict-unused", "-global s390-cmma.strict-unused=maybe", "'maybe'" },
    { "page-file/exists", "-global s390-cmma.page-file=%s/kernel", "exists" },
    { "page-file/nowhere", "-global s390-cmma.page-file=%s/none/file",
      "No such file or directory" },
    { "policy-kvm/poison", "-global s390-cmma.policy=kvm "
      "-global s390-cmma.poison=on", "'poison'" },
    { "policy-kvm/guest-discard", "-global s390-cmma.policy=kvm "
      "-global s390-cmma.guest-discard=on", "'guest-discard'" },
    { "policy/shared-memory", "-global s390-cmma.policy=always " SHARED_RAM,
      "cannot be discarded" },
    { "policy/file-memory", "-global s390-cmma.policy=random "
      "-object memory-backend-file,id=ram,size=16M,mem-path=%s/ram,share=off "
      "-machine memory-backend=ram", "cannot be discarded" },
    { "guest-discard/shared-memory", "-global s390-cmma.guest-discard=on "
      SHARED_RAM, "cannot be discarded" },
    { "page-file/shared-memory", "-global s390-cmma.page-file=%s/pages "
      SHARED_RAM, "cannot be paged out" },
    { "pressure/shared-memory", "-global s390-cmma.policy=pressure "
      SHARED_RAM, "cannot be discarded" },
    { "pressure/marks", "-global s390-cmma.policy=pressure "
      "-global s390-cmma.pressure-low=65M", "'pressure-high'" },
    { "pressure/no-size", "-global s390-cmma.pressure-low=much",
      "pressure-low" },
    { "pressure/no-cgroup", "-global s390-cmma.policy=pressure "
      "-global s390-cmma.pressure-cgroup=%s", "not the directory of a memory" },
    { "pressure/poison", "-global s390-cmma.policy=pressure "
      "-global s390-cmma.poison=on", "frees no memory" },
    { "pressure/locked", "-global s390-cmma.policy=pressure "
      "-overcommit mem-lock=on", "frees no memory" },
};

static void test_bad_options(const void *data)
{
    const BadOptions *bad = data;
    g_autofree char *said = g_build_filename(scratch, "stderr", NULL);
    g_autofree char *ram = g_build_filename(scratch, "ram", NULL);
    g_autofree char *pages = g_build_filename(scratch, "pages", NULL);
    g_autofree char *args = command_line("tcg", bad->options);
    g_autofree char *all = g_strdup_printf("%s 2>%s", args, said);
    g_autofree char *text = NULL;
    QTestState *qts;

    /* No connection: QEMU is to exit before it would answer */
    qts = qtest_init_with_env_and_capabilities(NULL, all, NULL, false);
    qtest_set_expected_status(qts, EXIT_FAILURE);
    qtest_wait_qemu(qts);
    qtest_quit(qts);

    g_assert_true(g_file_get_contents(said, &text, NULL, NULL));
    if (!strstr(text, bad->error)) {
        g_test_message("'%s' does not contain '%s'", text, bad->error);
        g_assert_not_reached();
    }
    g_assert_true(g_file_test(kernel, G_FILE_TEST_EXISTS));
    g_assert_false(g_file_test(pages, G_FILE_TEST_EXISTS));
    g_unlink(ram);
    g_unlink(said);
}

/* Without a policy such memory is all right, until somebody wants to take it */
static void test_memory_refused(void)
{
    QTestState *qts = start(SHARED_RAM);

    essa(qts, VOLATILE, 256);
    essa(qts, UNUSED, 257);
    assert_discard_refused(qts, "volatile", "cannot be discarded");
    assert_discard_refused(qts, "unused", "cannot be discarded");
    g_assert_cmphex(state_of(qts, 256), ==, VR);
    g_assert_cmphex(state_of(qts, 257), ==, UR);
    g_assert_cmpuint(counter(qts, "stops"), ==, 0);
    qtest_quit(qts);
}

static void test_no_tcg(void)
{
    g_autofree char *args = command_line("qtest", "");
    QTestState *qts = qtest_init(args);
    QDict *error = qtest_qmp_assert_failure_ref(qts,
        "{'execute': 'x-query-s390-cmma'}");

    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), "tcg"));
    qobject_unref(error);
    assert_discard_refused(qts, "unused", "tcg");
    qtest_quit(qts);
}

/* Queries: */

static void test_initial(void)
{
    static const char *const zero[] = {
        "discards", "discard-faults", "violations", "device-violations",
        "paged-out", "paged-in", "stops",
    };
    QTestState *qts = start("");
    const QDictEntry *entry;
    const QListEntry *ops;
    QDict *info, *pages;
    int i;

    info = qtest_qmp_assert_success_ref(qts,
                                        "{'execute': 'x-query-s390-cmma'}");
    pages = qdict_get_qdict(info, "pages");
    for (entry = qdict_first(pages); entry; entry = qdict_next(pages, entry)) {
        const char *name = qdict_entry_key(entry);

        g_assert_cmpint(qdict_get_int(pages, name), ==,
                        g_str_equal(name, "sr") ? BLOCKS : 0);
    }
    g_assert_cmpint(qdict_size(pages), ==, 8);
    g_assert_cmpint(qlist_size(qdict_get_qlist(info, "essa")), ==, 8);
    QLIST_FOREACH_ENTRY(qdict_get_qlist(info, "essa"), ops) {
        g_assert_cmpuint(qnum_get_uint(qobject_to(QNum, qlist_entry_obj(ops))),
                         ==, 0);
    }
    for (i = 0; i < ARRAY_SIZE(zero); i++) {
        g_assert_cmpint(qdict_get_int(info, zero[i]), ==, 0);
    }
    g_assert_false(qdict_haskey(info, "map"));
    qobject_unref(info);

    info = query(qts);
    g_assert_cmpuint(qlist_size(qdict_get_qlist(info, "map")), ==, 1);
    g_assert_cmphex(state_in_map(info, 0), ==, SR);
    qobject_unref(info);
    qtest_quit(qts);
}

static void test_map(void)
{
    QTestState *qts = start("");
    QDict *info, *pages;

    essa(qts, UNUSED, BLOCKS - 1);
    essa_range(qts, VOLATILE, 300, 3);
    essa(qts, UNUSED, 303);
    essa(qts, POT_VOLATILE, 305);
    g_assert_cmphex(essa(qts, GET, 301), ==, VR);
    g_assert_cmphex(essa(qts, STABLE, 301), ==, VR);

    info = query(qts);
    /* Stable blocks are before, between and behind the others */
    g_assert_cmpuint(qlist_size(qdict_get_qlist(info, "map")), ==, 9);
    g_assert_cmphex(state_in_map(info, 299), ==, SR);
    g_assert_cmphex(state_in_map(info, 300), ==, VR);
    g_assert_cmphex(state_in_map(info, 301), ==, SR);
    g_assert_cmphex(state_in_map(info, 302), ==, VR);
    g_assert_cmphex(state_in_map(info, 303), ==, UR);
    g_assert_cmphex(state_in_map(info, 304), ==, SR);
    g_assert_cmphex(state_in_map(info, 305), ==, PR);
    g_assert_cmphex(state_in_map(info, 306), ==, SR);
    g_assert_cmphex(state_in_map(info, BLOCKS - 1), ==, UR);
    pages = qdict_get_qdict(info, "pages");
    g_assert_cmpint(qdict_get_int(pages, "vr"), ==, 2);
    g_assert_cmpint(qdict_get_int(pages, "ur"), ==, 2);
    g_assert_cmpint(qdict_get_int(pages, "pr"), ==, 1);
    g_assert_cmpint(qdict_get_int(pages, "sr"), ==, BLOCKS - 5);
    qobject_unref(info);

    g_assert_cmpuint(essa_counter(qts, GET), ==, 1);
    g_assert_cmpuint(essa_counter(qts, STABLE), ==, 1);
    g_assert_cmpuint(essa_counter(qts, UNUSED), ==, 2);
    g_assert_cmpuint(essa_counter(qts, VOLATILE), ==, 3);
    g_assert_cmpuint(essa_counter(qts, POT_VOLATILE), ==, 1);
    g_assert_cmpuint(essa_counter(qts, STABLE_RESIDENT), ==, 0);
    qtest_quit(qts);
}

/* Discards: */

static void test_discard_nothing(void)
{
    QTestState *qts = start("");

    g_assert_cmpuint(discard(qts, "volatile", -1), ==, 0);
    g_assert_cmpuint(discard(qts, "unused", -1), ==, 0);
    essa(qts, UNUSED, 256);
    g_assert_cmpuint(discard(qts, "unused", 0), ==, 0);
    g_assert_cmphex(state_of(qts, 256), ==, UR);
    g_assert_cmpuint(counter(qts, "stops"), ==, 3);
    g_assert_cmpuint(counter(qts, "discards"), ==, 0);

    assert_discard_refused(qts, "nonsense", "nonsense");
    assert_discard_refused(qts, "evict", "page file");
    assert_discard_refused(qts, "age", "policy=kvm");
    g_assert_cmpuint(counter(qts, "stops"), ==, 3);
    qtest_quit(qts);
}

static void test_discard_volatile(void)
{
    QTestState *qts = start("");

    qtest_memset(qts, 256 * BLOCK_SIZE, 0x5a, 4 * BLOCK_SIZE);
    essa_range(qts, VOLATILE, 256, 3);
    essa(qts, UNUSED, 259);

    g_assert_cmpuint(discard(qts, "volatile", 2), ==, 2);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, VZ);
    g_assert_cmphex(state_of(qts, 258), ==, VR);
    g_assert_cmphex(load(qts, 258), ==, 0x5a);
    g_assert_cmpuint(discard(qts, "volatile", 100), ==, 1);
    g_assert_cmpuint(discard(qts, "volatile", -1), ==, 0);
    g_assert_cmphex(state_of(qts, 259), ==, UR);
    g_assert_cmpuint(pages_in(qts, "vz"), ==, 3);
    g_assert_cmpuint(counter(qts, "discards"), ==, 3);

    g_assert_cmpuint(counter(qts, "discard-faults"), ==, 0);
    g_assert_cmphex(load_fails(qts, 257), ==, PGM_BLOCK_VOLATILITY);
    g_assert_cmphex(qtest_readq(qts, LOWCORE_TEID), ==, 257 * BLOCK_SIZE);
    g_assert_cmpuint(counter(qts, "discard-faults"), ==, 1);
    g_assert_cmphex(essa(qts, STABLE_IF_RESIDENT, 257), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, VZ);

    g_assert_cmphex(essa(qts, STABLE, 257), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, SZ);
    assert_bytes(qts, 257, 0);
    g_assert_cmphex(load(qts, 257), ==, 0);
    g_assert_cmphex(state_of(qts, 257), ==, SR);
    store(qts, 257, 0x77);
    g_assert_cmphex(qtest_readb(qts, 257 * BLOCK_SIZE), ==, 0x77);
    qtest_quit(qts);
}

/* Each command goes on where the last one for these blocks ended */
static void test_discard_goes_on(void)
{
    static const uint64_t far[] = { 256, 300, 301, 302, BLOCKS - 1 };
    QTestState *qts = start("");

    for (int i = 0; i < ARRAY_SIZE(far); i++) {
        store(qts, far[i], 0x5a);
        essa(qts, VOLATILE, far[i]);
    }
    essa_range(qts, UNUSED, 400, 2);

    g_assert_cmpuint(discard(qts, "volatile", 2), ==, 2);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 300), ==, VZ);
    g_assert_cmphex(state_of(qts, 301), ==, VR);

    /* 256 comes back, and has to wait until all others were taken */
    essa(qts, STABLE, 256);
    store(qts, 256, 0x5b);
    essa(qts, VOLATILE, 256);
    g_assert_cmpuint(discard(qts, "unused", 1), ==, 1);
    g_assert_cmpuint(discard(qts, "volatile", 2), ==, 2);
    g_assert_cmphex(state_of(qts, 302), ==, VZ);
    g_assert_cmpuint(discard(qts, "volatile", 1), ==, 1);
    g_assert_cmphex(state_of(qts, BLOCKS - 1), ==, VZ);
    g_assert_cmphex(state_of(qts, 256), ==, VR);
    g_assert_cmphex(load(qts, 256), ==, 0x5b);
    g_assert_cmpuint(discard(qts, "volatile", 1), ==, 1);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 401), ==, UR);

    /* One round finds all, wherever it begins */
    for (int i = 0; i < ARRAY_SIZE(far); i++) {
        essa(qts, STABLE, far[i]);
        store(qts, far[i], 0x5a);
        essa(qts, VOLATILE, far[i]);
    }
    g_assert_cmpuint(discard(qts, "volatile", 3), ==, 3);
    g_assert_cmphex(state_of(qts, 256), ==, VR);
    g_assert_cmpuint(discard(qts, "volatile", 100), ==, 2);
    g_assert_cmpuint(pages_in(qts, "vz"), ==, 5);
    qtest_quit(qts);
}

/* The time is up at once, but each command takes something */
static void test_discard_limit(void)
{
    QTestState *qts = start("");
    uint64_t taken = 0, commands = 0;

    essa_range(qts, VOLATILE, 256, 2048);
    while (taken < 2048) {
        QDict *info = qtest_qmp_assert_success_ref(qts,
            "{'execute': 'x-s390-cmma-discard', 'arguments': "
            "{'what': 'volatile', 'limit-us': 0}}");
        uint64_t discarded = qdict_get_int(info, "discarded");

        qobject_unref(info);
        g_assert_cmpuint(discarded, >, 0);
        taken += discarded;
        commands++;
        g_assert_cmpuint(pages_in(qts, "vz"), ==, taken);
    }
    g_assert_cmpuint(commands, >, 1);
    g_assert_cmpuint(taken, ==, 2048);
    qtest_quit(qts);
}

/* All kinds of neighbours, at each place of a word of states */
static int kind_of(uint64_t block)
{
    return block * 7 / 3 % 5;
}

static void test_discard_neighbours(void)
{
    static const uint8_t states[] = { SR, UR, PR, VZ, VZ };
    static const int ops[] = { STABLE, UNUSED, POT_VOLATILE, VOLATILE };
    const int volatiles = 3, discarded = 4;
    QTestState *qts = start("");
    uint64_t block, expected = 0;
    QDict *info;

    for (block = 256; block < 768; block++) {
        if (kind_of(block) == discarded) {
            essa(qts, VOLATILE, block);
            expected++;
        }
    }
    g_assert_cmpuint(discard(qts, "volatile", -1), ==, expected);

    expected = 0;
    for (block = 256; block < 768; block++) {
        if (kind_of(block) != discarded) {
            store(qts, block, 1 + block);
            essa(qts, ops[kind_of(block)], block);
            expected += kind_of(block) == volatiles;
        }
    }
    g_assert_cmpuint(discard(qts, "volatile", 7), ==, 7);
    g_assert_cmpuint(discard(qts, "volatile", -1), ==, expected - 7);
    info = query(qts);
    for (block = 256; block < 768; block++) {
        g_assert_cmphex(state_in_map(info, block), ==, states[kind_of(block)]);
    }
    qobject_unref(info);
    for (block = 256; block < 768; block++) {
        if (kind_of(block) < volatiles) {
            g_assert_cmphex(load(qts, block), ==, (uint8_t)(1 + block));
        }
    }
    qtest_quit(qts);
}

static void test_discard_unused(void)
{
    QTestState *qts = start("");

    qtest_memset(qts, 256 * BLOCK_SIZE, 0x5a, 4 * BLOCK_SIZE);
    essa_range(qts, UNUSED, 256, 3);
    essa(qts, VOLATILE, 259);

    g_assert_cmpuint(discard(qts, "unused", 1), ==, 1);
    g_assert_cmphex(state_of(qts, 256), ==, UZ);
    g_assert_cmphex(state_of(qts, 257), ==, UR);
    g_assert_cmpuint(discard(qts, "unused", -1), ==, 2);
    g_assert_cmphex(state_of(qts, 259), ==, VR);
    g_assert_cmpuint(pages_in(qts, "uz"), ==, 3);
    assert_bytes(qts, 256, 0);
    assert_bytes(qts, 259, 0x5a);

    /* The guest should not do that; it is counted, and gets zeros */
    g_assert_cmpuint(counter(qts, "violations"), ==, 0);
    g_assert_cmphex(load(qts, 256), ==, 0);
    g_assert_cmphex(state_of(qts, 256), ==, UR);
    g_assert_cmpuint(counter(qts, "violations"), ==, 1);
    qtest_quit(qts);
}

static void test_discard_pot_volatile(void)
{
    QTestState *qts = start("");

    store(qts, 256, 1);
    clear_key(qts, 256);
    essa(qts, POT_VOLATILE, 256);
    clear_key(qts, 257);
    essa(qts, POT_VOLATILE, 257);
    store(qts, 257, 2);

    g_assert_cmpuint(discard(qts, "volatile", -1), ==, 1);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, PR);
    g_assert_cmphex(load(qts, 257), ==, 2);

    /* A device changes a block as a CPU does */
    clear_key(qts, 257);
    qtest_writeb(qts, 257 * BLOCK_SIZE, 3);
    g_assert_cmpuint(discard(qts, "volatile", -1), ==, 0);
    g_assert_cmphex(load(qts, 257), ==, 3);
    qtest_quit(qts);
}

static void test_strict_unused(void)
{
    QTestState *qts = start("-global s390-cmma.strict-unused=on");

    essa_range(qts, UNUSED, 256, 2);
    g_assert_cmpuint(discard(qts, "unused", 1), ==, 1);
    g_assert_cmphex(load_fails(qts, 256), ==, PGM_ADDRESSING);
    g_assert_cmphex(load_fails(qts, 257), ==, 0);
    g_assert_cmphex(state_of(qts, 256), ==, UZ);
    g_assert_cmpuint(counter(qts, "violations"), ==, 1);
    qtest_quit(qts);

    qts = start("-global s390-cmma.strict-unused=all");
    essa(qts, UNUSED, 256);
    g_assert_cmphex(load_fails(qts, 256), ==, PGM_ADDRESSING);
    essa(qts, STABLE, 256);
    g_assert_cmphex(load_fails(qts, 256), ==, 0);
    qtest_quit(qts);
}

/* Returns: a bit for each of 64 blocks made volatile, 1 if it was taken */
static uint64_t taken_by_policy(const char *options)
{
    QTestState *qts = start(options);
    uint64_t taken = 0;

    for (int i = 0; i < 64; i++) {
        uint8_t state;

        essa(qts, VOLATILE, 256 + i);
        state = essa(qts, GET, 256 + i);
        g_assert_true(state == VR || state == VZ);
        taken |= (uint64_t)(state == VZ) << i;
    }
    g_assert_cmpuint(counter(qts, "discards"), ==, ctpop64(taken));
    g_assert_cmpuint(counter(qts, "stops"), ==, 0);
    qtest_quit(qts);
    return taken;
}

static void test_policy(void)
{
    static const char one[] = "-global s390-cmma.policy=random "
                              "-global s390-cmma.seed=1";
    static const char two[] = "-global s390-cmma.policy=random "
                              "-global s390-cmma.seed=2";
    uint64_t first;

    g_assert_cmphex(taken_by_policy(""), ==, 0);
    g_assert_cmphex(taken_by_policy("-global s390-cmma.policy=always"),
                    ==, UINT64_MAX);
    g_assert_cmphex(taken_by_policy("-global s390-cmma.policy=random "
                                    "-global s390-cmma.percent=0"), ==, 0);
    g_assert_cmphex(taken_by_policy("-global s390-cmma.policy=random "
                                    "-global s390-cmma.percent=100"),
                    ==, UINT64_MAX);

    /* The seed makes it repeatable */
    first = taken_by_policy(one);
    g_assert_cmphex(first, !=, 0);
    g_assert_cmphex(first, !=, UINT64_MAX);
    g_assert_cmphex(taken_by_policy(one), ==, first);
    g_assert_cmphex(taken_by_policy(two), !=, first);
}

/* Policy "pressure", with files like those of a cgroup, of version 1 or 2: */

#define GROUP_LIMIT (64 * MiB)
#define PRESSURE    "-global s390-cmma.policy=pressure " \
                    "-global s390-cmma.pressure-low=1M " \
                    "-global s390-cmma.pressure-high=1M " \
                    "-global s390-cmma.pressure-cgroup=%s/group/inner"
#define DEVICE      "/machine/s390-storage_attributes"

/* A file of the cgroup, or of the one above it; NULL: none */
static void group_file(const char *directory, const char *name,
                       const char *text)
{
    g_autofree char *path = g_build_filename(scratch, directory, name, NULL);

    if (!text) {
        g_unlink(path);
        return;
    }
    /* Whoever reads it at this moment finds the old one, or this */
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* So many bytes are left to the cgroup, of which @cache is used for files */
static void group_left(uint64_t left, uint64_t cache)
{
    g_autofree char *limit = g_strdup_printf("%" PRIu64 "\n",
                                             (uint64_t)GROUP_LIMIT);
    g_autofree char *usage = g_strdup_printf("%" PRIu64 "\n",
                                             GROUP_LIMIT + cache - left);
    g_autofree char *stat = g_strdup_printf("cache 1\ntotal_inactive_file %"
                                            PRIu64 "\nunevictable 2\n",
                                            cache);

    group_file("group/inner", "memory.limit_in_bytes", limit);
    group_file("group/inner", "memory.stat", stat);
    group_file("group/inner", "memory.usage_in_bytes", usage);
}

static void make_group(void)
{
    g_autofree char *path = g_build_filename(scratch, "group/inner", NULL);

    g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
}

static void remove_group(void)
{
    static const char *const directories[] = { "group/inner", "group" };
    static const char *const names[] = {
        "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat",
        "memory.current", "memory.max", "memory.high",
    };

    for (int i = 0; i < ARRAY_SIZE(directories); i++) {
        g_autofree char *path = g_build_filename(scratch, directories[i], NULL);

        for (int j = 0; j < ARRAY_SIZE(names); j++) {
            group_file(directories[i], names[j], NULL);
        }
        g_assert_cmpint(g_rmdir(path), ==, 0);
    }
}

/* UINT64_MAX without that policy */
static uint64_t pressure(QTestState *qts, const char *name)
{
    QDict *info = query(qts), *some = qdict_get_qdict(info, "pressure");
    uint64_t value = some ? qnum_get_uint(qobject_to(QNum,
                                                     qdict_get(some, name)))
                          : UINT64_MAX;

    qobject_unref(info);
    return value;
}

static uint64_t wait_for_pressure(QTestState *qts, const char *name,
                                  uint64_t least, uint64_t most)
{
    const gint64 end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;

    for (;;) {
        uint64_t value = pressure(qts, name);

        if (value >= least && value <= most) {
            return value;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void assert_not_set(QTestState *qts, const char *name, QObject *value,
                           const char *why)
{
    QDict *error = qtest_qmp_assert_failure_ref(qts,
        "{'execute': 'qom-set', 'arguments': {'path': %s, 'property': %s, "
        "'value': %p}}", DEVICE, name, value);

    g_test_message("%s", qdict_get_str(error, "desc"));
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), why));
    qobject_unref(error);
}

static void assert_policy_not_set(QTestState *qts, const char *policy,
                                  const char *why)
{
    assert_not_set(qts, "policy", QOBJECT(qstring_from_str(policy)), why);
}

static void set_policy(QTestState *qts, const char *policy)
{
    qtest_qmp_assert_success(qts,
        "{'execute': 'qom-set', 'arguments': {'path': %s, "
        "'property': 'policy', 'value': %s}}", DEVICE, policy);
}

/* It takes all there is, unused blocks first, says so, and takes no more */
static void test_pressure(void)
{
    QTestState *qts;
    QDict *event, *data;
    uint64_t stops;

    make_group();
    group_left(2 * MiB, 0);
    qts = start(PRESSURE);
    essa_range(qts, VOLATILE, 512, 200);
    essa_range(qts, UNUSED, 1024, 20);
    clear_key(qts, 1500);
    essa(qts, POT_VOLATILE, 1500);
    essa(qts, POT_VOLATILE, 1501);
    store(qts, 1501, 1);
    essa(qts, STABLE, 2048);
    wait_for_pressure(qts, "left", 2 * MiB, 2 * MiB);
    g_assert_cmpuint(counter(qts, "stops"), ==, 0);

    group_left(MiB - 1, 8 * MiB);
    event = qtest_qmp_eventwait_ref(qts, "S390_CMMA_PRESSURE");
    data = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, "room");
    g_assert_cmpint(qdict_get_int(data, "unused"), ==, 20);
    g_assert_cmpint(qdict_get_int(data, "volatile"), ==, 201);
    g_assert_true(qdict_get_bool(data, "exhausted"));
    qobject_unref(event);
    g_assert_cmpuint(pages_in(qts, "vr"), ==, 0);
    g_assert_cmpuint(pages_in(qts, "ur"), ==, 0);
    g_assert_cmpuint(counter(qts, "discards"), ==, 221);
    g_assert_cmphex(state_of(qts, 1500), ==, VZ);
    g_assert_cmphex(state_of(qts, 1501), ==, PR);
    g_assert_cmphex(state_of(qts, 2048), ==, SR);

    /* With nothing to take, no CPU is stopped */
    stops = counter(qts, "stops");
    g_assert_cmpuint(stops, >, 0);
    wait_for_pressure(qts, "times-exhausted", 3, UINT64_MAX);
    g_assert_cmpuint(counter(qts, "stops"), ==, stops);
    qtest_quit(qts);
    remove_group();
}

/* What was used before the last taking goes before what is used since */
static void test_pressure_age(void)
{
    const uint64_t old = 512, count = 2048;
    uint64_t young, i;
    QTestState *qts;

    make_group();
    group_left(2 * MiB, 0);
    qts = start(PRESSURE);
    essa_range(qts, VOLATILE, old, count);
    /* A byte is missing, and stays so: a few are taken, four times a second */
    group_left(MiB - 1, 0);
    wait_for_pressure(qts, "taken-volatile", 1, count / 2);
    group_left(2 * MiB, 0);
    wait_for_pressure(qts, "left", 2 * MiB, 2 * MiB);

    /* The next ones in order are used now */
    young = old + pressure(qts, "taken-volatile");
    g_assert_cmphex(state_of(qts, young - 1), ==, VZ);
    g_assert_cmphex(state_of(qts, young), ==, VR);
    essa_range(qts, STABLE, young, 64);
    essa_range(qts, VOLATILE, young, 64);
    g_assert_cmphex(load(qts, young + 64), ==, 0);
    group_left(MiB - 1, 0);
    wait_for_pressure(qts, "taken-volatile", young - old + 65, count - 65);
    group_left(2 * MiB, 0);
    wait_for_pressure(qts, "left", 2 * MiB, 2 * MiB);
    for (i = 0; i < 65; i++) {
        g_assert_cmphex(state_of(qts, young + i), ==, VR);
    }
    g_assert_cmphex(state_of(qts, young + 65), ==, VZ);

    /* There is nothing else in the end */
    group_left(MiB - 1, 0);
    wait_for_pressure(qts, "taken-volatile", count, count);
    qtest_quit(qts);
    remove_group();
}

/* What was used in several seconds stays longer than what was used once */
static void test_pressure_again(void)
{
    const uint64_t again = 512, count = 64, once = 1024;
    QTestState *qts;

    make_group();
    group_left(2 * MiB, 0);
    qts = start(PRESSURE);
    for (int i = 0; i < 4; i++) {
        essa_range(qts, VOLATILE, again, count);
        g_usleep(1100 * 1000);
    }
    essa_range(qts, VOLATILE, once, 1024);
    g_usleep(1100 * 1000);
    /* Now these are half as old. A few are taken, four times a second */
    group_left(MiB - 1, 0);
    wait_for_pressure(qts, "taken-volatile", 1, 512);
    group_left(2 * MiB, 0);
    wait_for_pressure(qts, "left", 2 * MiB, 2 * MiB);
    for (int i = 0; i < count; i++) {
        g_assert_cmphex(state_of(qts, again + i), ==, VR);
    }
    qtest_quit(qts);
    remove_group();
}

/* A limit counts of whatever version, and also of a cgroup above, or none */
static void test_pressure_cgroup(void)
{
    QTestState *qts;

    make_group();
    group_file("group/inner", "memory.current", "10485760\n");
    group_file("group/inner", "memory.max", "max\n");
    group_file("group", "memory.current", "20971520\n");
    group_file("group", "memory.stat", "anon 1\ninactive_file 1048576\n");
    group_file("group", "memory.max", "41943040\n");
    qts = start(PRESSURE);
    essa(qts, VOLATILE, 512);
    wait_for_pressure(qts, "left", 21 * MiB, 21 * MiB);
    group_file("group/inner", "memory.high", "15728640\n");
    wait_for_pressure(qts, "left", 5 * MiB, 5 * MiB);
    group_file("group/inner", "memory.high", "nonsense\n");
    wait_for_pressure(qts, "left", 21 * MiB, 21 * MiB);
    /* It can go away: then only the machine counts */
    remove_group();
    wait_for_pressure(qts, "left", 42 * MiB, UINT64_MAX - 1);
    g_assert_cmphex(state_of(qts, 512), ==, VR);
    g_assert_cmpuint(counter(qts, "stops"), ==, 0);
    qtest_quit(qts);
}

static void test_pressure_set(void)
{
    QTestState *qts;

    make_group();
    group_left(MiB - 1, 0);
    qts = start("-global s390-cmma.pressure-low=1M "
                "-global s390-cmma.pressure-high=2M "
                "-global s390-cmma.pressure-cgroup=%s/group/inner");
    essa_range(qts, VOLATILE, 512, 2);
    g_assert_cmpuint(pressure(qts, "left"), ==, UINT64_MAX);

    assert_policy_not_set(qts, "kvm", "at start");
    assert_policy_not_set(qts, "nonsense", "'nonsense'");
    assert_not_set(qts, "pressure-low", QOBJECT(qnum_from_uint(3 * MiB)),
                   "'pressure-high'");
    assert_not_set(qts, "pressure-high", QOBJECT(qstring_from_str("nonsense")),
                   "pressure-high");
    assert_not_set(qts, "pressure-cgroup", QOBJECT(qstring_from_str("/")),
                   "realized");
    g_assert_cmphex(state_of(qts, 512), ==, VR);

    set_policy(qts, "pressure");
    wait_for_pressure(qts, "taken-volatile", 2, 2);
    set_policy(qts, "none");
    g_assert_cmpuint(pressure(qts, "left"), ==, UINT64_MAX);
    essa(qts, VOLATILE, 600);
    /* It would have looked again after a second */
    g_usleep(1300 * 1000);
    g_assert_cmphex(state_of(qts, 600), ==, VR);
    set_policy(qts, "pressure");
    wait_for_pressure(qts, "taken-volatile", 3, 3);
    qtest_quit(qts);
    remove_group();

    qts = start(SHARED_RAM);
    assert_policy_not_set(qts, "pressure", "cannot be discarded");
    qtest_quit(qts);
    qts = start("-global s390-cmma.policy=kvm");
    assert_policy_not_set(qts, "pressure", "at start");
    qtest_quit(qts);
}

static void test_guest_discard(void)
{
    QTestState *qts = start("");
    uint64_t value = 0;

    essa(qts, VOLATILE, 256);
    g_assert_cmphex(execute(qts, INSN_ESSA(DISCARD), 256, &value), ==,
                    PGM_SPECIFICATION);
    g_assert_cmphex(state_of(qts, 256), ==, VR);
    qtest_quit(qts);

    qts = start("-global s390-cmma.guest-discard=on");
    essa(qts, VOLATILE, 256);
    essa(qts, UNUSED, 257);
    g_assert_cmphex(essa(qts, DISCARD, 256), ==, VR);
    g_assert_cmphex(essa(qts, DISCARD, 257), ==, UR);
    g_assert_cmphex(essa(qts, DISCARD, 258), ==, SR);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, UZ);
    g_assert_cmphex(state_of(qts, 258), ==, SR);
    g_assert_cmpuint(counter(qts, "stops"), ==, 0);
    qtest_quit(qts);
}

/* Poison is what a guest would see if it touched what it must not touch */
static void test_poison(void)
{
    QTestState *qts = start("-global s390-cmma.poison=on " SHARED_RAM);

    qtest_memset(qts, 256 * BLOCK_SIZE, 0x5a, 2 * BLOCK_SIZE);
    essa(qts, VOLATILE, 256);
    essa(qts, UNUSED, 257);
    g_assert_cmpuint(discard(qts, "volatile", -1), ==, 1);
    g_assert_cmpuint(discard(qts, "unused", -1), ==, 1);
    assert_bytes(qts, 256, 0xd1);
    assert_bytes(qts, 257, 0xd1);
    essa(qts, STABLE, 256);
    assert_bytes(qts, 256, 0);
    g_assert_cmphex(load(qts, 257), ==, 0);
    assert_bytes(qts, 257, 0);
    assert_discard_refused(qts, "evict", "page file");
    qtest_quit(qts);
}

/* Paging out: */

#define PAGE_FILE "-global s390-cmma.page-file=%s/pages"

static bool running(QTestState *qts)
{
    QDict *status = qtest_qmp_assert_success_ref(qts,
                                                 "{'execute': 'query-status'}");
    bool is = qdict_get_bool(status, "running");

    qobject_unref(status);
    return is;
}

/* A byte that tells blocks apart */
static uint8_t pattern(uint64_t block)
{
    return block % 251 + 1;
}

static void fill(QTestState *qts, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        qtest_memset(qts, i * BLOCK_SIZE, pattern(i), BLOCK_SIZE);
    }
}

static void test_evict(void)
{
    QTestState *qts = start(PAGE_FILE);
    g_autofree char *file = g_build_filename(scratch, "pages", NULL);
    g_autofree char *said = NULL;
    uint64_t paged_in;

    /* The file has no name any more */
    g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));

    fill(qts, 256, 8);
    essa(qts, UNUSED, 256);
    essa(qts, VOLATILE, 257);
    clear_key(qts, 258);
    essa(qts, POT_VOLATILE, 258);
    clear_key(qts, 259);
    essa(qts, POT_VOLATILE, 259);
    store(qts, 259, pattern(259));

    g_assert_cmpuint(discard(qts, "evict", -1), ==, BLOCKS);
    g_assert_true(running(qts));
    g_assert_cmpuint(counter(qts, "discards"), ==, 3);
    g_assert_cmpuint(counter(qts, "paged-out"), ==, BLOCKS - 3);
    g_assert_cmphex(state_of(qts, 256), ==, UZ);
    g_assert_cmphex(state_of(qts, 257), ==, VZ);
    g_assert_cmphex(state_of(qts, 258), ==, VZ);
    g_assert_cmphex(state_of(qts, 259), ==, SP);
    g_assert_cmphex(state_of(qts, 260), ==, SP);

    /* A device and the monitor find the content, and leave the state alone */
    for (int i = 259; i < 264; i++) {
        assert_bytes(qts, i, pattern(i));
    }
    assert_bytes(qts, 256, 0);
    said = qtest_hmp(qts, "xp /1bx 0x105000");
    g_strchomp(said);
    g_assert_cmpstr(said, ==, "0000000000105000: 0x0b");
    g_assert_cmphex(state_of(qts, 261), ==, SP);

    /* A CPU pages in, by a load or a store; ESSA looks without an access */
    g_assert_cmphex(essa(qts, GET, 260), ==, SP);
    paged_in = counter(qts, "paged-in");
    g_assert_cmphex(load(qts, 260), ==, pattern(260));
    g_assert_cmphex(state_of(qts, 260), ==, SR);
    g_assert_cmpuint(counter(qts, "paged-in"), ==, paged_in + 1);
    store(qts, 261, 0);
    g_assert_cmphex(state_of(qts, 261), ==, SR);
    g_assert_cmphex(qtest_readb(qts, 261 * BLOCK_SIZE), ==, 0);
    g_assert_cmphex(qtest_readb(qts, 261 * BLOCK_SIZE + 1), ==, pattern(261));

    /* A device that writes makes the block resident */
    qtest_writeb(qts, 262 * BLOCK_SIZE, 0xff);
    g_assert_cmphex(state_of(qts, 262), ==, SR);
    g_assert_cmphex(load(qts, 262), ==, 0xff);
    g_assert_cmphex(qtest_readb(qts, 262 * BLOCK_SIZE + 1), ==, pattern(262));

    /* Volatile and unused throw the copy away */
    g_assert_cmphex(essa(qts, VOLATILE, 263), ==, SP);
    g_assert_cmphex(state_of(qts, 263), ==, VZ);
    g_assert_cmphex(load_fails(qts, 263), ==, PGM_BLOCK_VOLATILITY);
    essa(qts, STABLE, 263);
    assert_bytes(qts, 263, 0);
    g_assert_cmphex(essa(qts, UNUSED, 259), ==, SP);
    g_assert_cmphex(state_of(qts, 259), ==, UZ);
    assert_bytes(qts, 259, 0);

    /* Once more, with content that changed since */
    g_assert_cmpuint(discard(qts, "evict", -1), >, 0);
    g_assert_cmphex(state_of(qts, 262), ==, SP);
    g_assert_cmphex(qtest_readb(qts, 262 * BLOCK_SIZE), ==, 0xff);
    g_assert_cmphex(load(qts, 262), ==, 0xff);
    g_assert_cmphex(load(qts, 261), ==, 0);
    g_assert_cmphex(load(qts, 260), ==, pattern(260));
    qtest_quit(qts);
}

static void test_evict_count(void)
{
    QTestState *qts = start(PAGE_FILE);
    uint64_t sp;

    /* What costs the guest nothing goes first */
    essa_range(qts, VOLATILE, 400, 5);
    essa_range(qts, UNUSED, 500, 5);
    g_assert_cmpuint(discard(qts, "evict", 3), ==, 3);
    g_assert_cmpuint(pages_in(qts, "uz"), ==, 3);
    g_assert_cmpuint(discard(qts, "evict", 5), ==, 5);
    g_assert_cmpuint(pages_in(qts, "uz"), ==, 5);
    g_assert_cmpuint(pages_in(qts, "vz"), ==, 3);
    g_assert_cmpuint(counter(qts, "paged-out"), ==, 0);
    g_assert_cmpuint(discard(qts, "evict", 12), ==, 12);
    g_assert_cmpuint(pages_in(qts, "vz"), ==, 5);
    g_assert_cmpuint(counter(qts, "paged-out"), ==, 10);
    /* The guest's own block comes back at once */
    sp = pages_in(qts, "sp");
    g_assert_true(sp == 9 || sp == 10);
    qtest_quit(qts);
}

/* A machine that was stopped stays stopped */
static void test_evict_stopped(void)
{
    QTestState *qts = start(PAGE_FILE);

    fill(qts, 256, 1);
    qtest_qmp_assert_success(qts, "{'execute': 'stop'}");
    g_assert_cmpuint(discard(qts, "evict", -1), ==, BLOCKS);
    g_assert_cmpuint(discard(qts, "evict", -1), ==, 0);
    g_assert_cmpuint(discard(qts, "unused", -1), ==, 0);
    g_assert_false(running(qts));
    g_assert_cmpuint(pages_in(qts, "sp"), ==, BLOCKS);
    g_assert_cmpuint(counter(qts, "paged-in"), ==, 0);
    qtest_qmp_assert_success(qts, "{'execute': 'cont'}");
    g_assert_cmphex(load(qts, 256), ==, pattern(256));
    g_assert_cmpuint(counter(qts, "paged-in"), ==, 2);
    qtest_quit(qts);
}

/* The state after a reset that clears */
static void test_reset(void)
{
    QTestState *qts = start(PAGE_FILE);
    int i;

    fill(qts, 256, 6);
    essa(qts, UNUSED, 256);
    essa(qts, VOLATILE, 257);
    g_assert_cmpuint(discard(qts, "evict", -1), ==, BLOCKS);
    essa(qts, UNUSED, 258);
    g_assert_cmphex(load(qts, 259), ==, pattern(259));
    essa(qts, VOLATILE, 259);
    g_assert_cmphex(load(qts, 260), ==, pattern(260));
    essa(qts, POT_VOLATILE, 260);

    qtest_system_reset(qts);
    /* The guest runs again, and every block is stable */
    for (i = 256; i < 262; i++) {
        uint8_t state = essa(qts, GET, i);

        g_assert_cmphex(state & 0x0c, ==, 0);
        if (i < 259) {
            g_assert_cmphex(load(qts, i), ==, 0);
        }
    }
    g_assert_cmpuint(pages_in(qts, "ur") + pages_in(qts, "uz") +
                     pages_in(qts, "vr") + pages_in(qts, "vz") +
                     pages_in(qts, "pr"), ==, 0);
    /* Content that was preserved for the guest still is */
    g_assert_cmphex(load(qts, 259), ==, pattern(259));
    g_assert_cmphex(load(qts, 261), ==, pattern(261));
    qtest_quit(qts);
}

/* Migration: */

static void wait_for(QTestState *qts, const char *command, const char *status,
                     bool is)
{
    int64_t end = g_get_monotonic_time() + 30 * G_TIME_SPAN_SECOND;
    bool done = false;

    while (!done) {
        QDict *info = qtest_qmp_assert_success_ref(qts, "{'execute': %s}",
                                                   command);
        const char *now = qdict_get_try_str(info, "status");

        done = g_str_equal(now ?: "", status) == is;
        g_assert_cmpstr(now, !=, "failed");
        qobject_unref(info);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void test_migrate(void)
{
    g_autofree char *file = g_build_filename(scratch, "migration", NULL);
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    QTestState *qts = start(PAGE_FILE);
    int i;

    fill(qts, 256, 8);
    essa(qts, VOLATILE, 256);
    essa(qts, UNUSED, 257);
    g_assert_cmpuint(discard(qts, "evict", -1), ==, BLOCKS);
    g_assert_cmphex(load(qts, 258), ==, pattern(258));
    essa(qts, VOLATILE, 258);
    g_assert_cmphex(load(qts, 259), ==, pattern(259));
    essa(qts, UNUSED, 259);
    g_assert_cmphex(load(qts, 260), ==, pattern(260));
    essa(qts, POT_VOLATILE, 260);
    essa(qts, VOLATILE, 261);
    essa(qts, STABLE, 261);
    qtest_qmp_assert_success(qts, "{'execute': 'migrate', "
                             "'arguments': {'uri': %s}}", uri);
    wait_for(qts, "query-migrate", "completed", true);
    qtest_quit(qts);

    qts = start("-incoming file:%s/migration");
    wait_for(qts, "query-status", "inmigrate", false);
    g_assert_cmphex(state_of(qts, 256), ==, VZ);
    g_assert_cmphex(state_of(qts, 257), ==, UZ);
    g_assert_cmphex(state_of(qts, 258), ==, VR);
    g_assert_cmphex(state_of(qts, 259), ==, UR);
    g_assert_cmphex(state_of(qts, 260), ==, PR);
    /* That it was loaded does not count as written by a device */
    g_assert_cmphex(state_of(qts, 261), ==, SZ);
    /* What was paged out came with the memory: no page file is needed */
    g_assert_cmphex(state_of(qts, 262), ==, SR);
    g_assert_cmphex(load_fails(qts, 256), ==, PGM_BLOCK_VOLATILITY);
    for (i = 258; i < 264; i++) {
        g_assert_cmphex(load(qts, i), ==, i == 261 ? 0 : pattern(i));
    }
    qtest_quit(qts);
    g_unlink(file);
}

/* Policy kvm: */

static void test_policy_kvm(void)
{
    QTestState *qts = start("-global s390-cmma.policy=kvm " PAGE_FILE);

    fill(qts, 256, 4);
    essa(qts, VOLATILE, 256);
    essa(qts, UNUSED, 257);
    assert_discard_refused(qts, "volatile", "evict");
    assert_discard_refused(qts, "unused", "evict");

    /* Old blocks look discarded, but nothing is lost */
    g_assert_cmpuint(discard(qts, "age", -1), >, 0);
    g_assert_cmphex(essa(qts, GET, 258), ==, SP);
    g_assert_cmphex(load(qts, 256), ==, pattern(256));
    g_assert_cmphex(load(qts, 258), ==, pattern(258));

    /* Neither does the guest notice that a volatile block was swapped out */
    g_assert_cmpuint(discard(qts, "evict", -1), >, 0);
    g_assert_cmphex(load(qts, 256), ==, pattern(256));
    g_assert_cmphex(load(qts, 257), ==, 0);
    g_assert_cmphex(load(qts, 259), ==, pattern(259));
    g_assert_cmpuint(counter(qts, "discard-faults"), ==, 0);
    qtest_quit(qts);
}

/* Human monitor: */

static uint64_t hmp_number(const char *text, const char *name)
{
    g_autofree char *line = g_strdup_printf("\n%s", name);
    g_autofree char *all = g_strdup_printf("\n%s", text);
    const char *found = strstr(all, line);

    if (!found) {
        g_test_message("no '%s' in: %s", name, text);
        g_assert_not_reached();
    }
    return g_ascii_strtoull(found + strlen(line), NULL, 10);
}

static void test_hmp(void)
{
    QTestState *qts = start("");
    char *said;

    essa_range(qts, VOLATILE, 256, 3);
    essa(qts, UNUSED, 259);

    said = qtest_hmp(qts, "cmma_discard volatile 2");
    g_assert_cmpint(g_ascii_strtoull(said, NULL, 10), ==, 2);
    g_free(said);
    said = qtest_hmp(qts, "cmma_discard unused");
    g_assert_cmpint(g_ascii_strtoull(said, NULL, 10), ==, 1);
    g_free(said);
    said = qtest_hmp(qts, "cmma_discard nonsense");
    g_assert_nonnull(strstr(said, "Error"));
    g_free(said);
    said = qtest_hmp(qts, "cmma_discard evict");
    g_assert_nonnull(strstr(said, "Error"));
    g_free(said);

    said = qtest_hmp(qts, "info cmma_stats");
    g_assert_cmpuint(hmp_number(said, "Sr "), ==, BLOCKS - 4);
    g_assert_cmpuint(hmp_number(said, "Sp "), ==, 0);
    g_assert_cmpuint(hmp_number(said, "Vr "), ==, 1);
    g_assert_cmpuint(hmp_number(said, "Vz "), ==, 2);
    g_assert_cmpuint(hmp_number(said, "Ur "), ==, 0);
    g_assert_cmpuint(hmp_number(said, "Uz "), ==, 1);
    g_assert_cmpuint(hmp_number(said, "essa 3: "), ==, 3);
    g_assert_cmpuint(hmp_number(said, "discards: "), ==, 3);
    g_assert_cmpuint(hmp_number(said, "stops: "), ==, 2);
    g_free(said);

    said = qtest_hmp(qts, "info cmma 0x100000 5");
    g_assert_nonnull(strstr(said, "pages 256+5"));
    g_assert_nonnull(strstr(said, "\n0f0f0c0700"));
    g_free(said);
    qtest_quit(qts);
}

int main(int argc, char *argv[])
{
    int i, ret;

    g_test_init(&argc, &argv, NULL);

    if (!qtest_has_accel("tcg")) {
        g_test_skip("Only TCG has the device");
        return 0;
    }

    make_files();
    for (i = 0; i < ARRAY_SIZE(bad_options); i++) {
        g_autofree char *name = g_strdup_printf("s390-cmma/bad/%s",
                                                bad_options[i].name);

        qtest_add_data_func(name, &bad_options[i], test_bad_options);
    }
    qtest_add_func("s390-cmma/memory-refused", test_memory_refused);
    qtest_add_func("s390-cmma/no-tcg", test_no_tcg);
    qtest_add_func("s390-cmma/initial", test_initial);
    qtest_add_func("s390-cmma/map", test_map);
    qtest_add_func("s390-cmma/discard/nothing", test_discard_nothing);
    qtest_add_func("s390-cmma/discard/volatile", test_discard_volatile);
    qtest_add_func("s390-cmma/discard/goes-on", test_discard_goes_on);
    qtest_add_func("s390-cmma/discard/limit", test_discard_limit);
    qtest_add_func("s390-cmma/discard/neighbours", test_discard_neighbours);
    qtest_add_func("s390-cmma/discard/unused", test_discard_unused);
    qtest_add_func("s390-cmma/discard/pot-volatile", test_discard_pot_volatile);
    qtest_add_func("s390-cmma/discard/by-guest", test_guest_discard);
    qtest_add_func("s390-cmma/discard/poison", test_poison);
    qtest_add_func("s390-cmma/strict-unused", test_strict_unused);
    qtest_add_func("s390-cmma/policy", test_policy);
    qtest_add_func("s390-cmma/policy-kvm", test_policy_kvm);
    qtest_add_func("s390-cmma/pressure", test_pressure);
    qtest_add_func("s390-cmma/pressure/age", test_pressure_age);
    qtest_add_func("s390-cmma/pressure/again", test_pressure_again);
    qtest_add_func("s390-cmma/pressure/cgroup", test_pressure_cgroup);
    qtest_add_func("s390-cmma/pressure/set", test_pressure_set);
    qtest_add_func("s390-cmma/evict", test_evict);
    qtest_add_func("s390-cmma/evict/count", test_evict_count);
    qtest_add_func("s390-cmma/evict/stopped", test_evict_stopped);
    qtest_add_func("s390-cmma/reset", test_reset);
    qtest_add_func("s390-cmma/migrate", test_migrate);
    qtest_add_func("s390-cmma/hmp", test_hmp);
    ret = g_test_run();
    remove_files();
    return ret;
}
