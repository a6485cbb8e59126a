// SPDX-License-Identifier: GPL-2.0
/* What the tests of page host virtual assist share, see page_hva.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "../kselftest.h"
#include "page_hva.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define SYSFS	"/sys/kernel/mm/page_hva"
#define SETTLE	"/sys/kernel/debug/page_hva/settle"
/* Long enough for what was left alone to turn volatile by itself. */
#define LATE_US	7000000

size_t hva_page;
const char *hva_dir;

static bool settles;		/* the kernel lets us do at once what it does late */
static bool taken;		/* the host takes what is volatile at once */

void hva_die(const char *what)
{
	fprintf(stderr, "# the test itself failed: %s: %s\n", what,
		strerror(errno));
	fflush(NULL);
	_exit(KSFT_FAIL);
}

/* The value of a line of /proc/vmstat, or 0. */
static unsigned long value_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoul(line + strlen(name), NULL, 10) : 0;
}

static bool count(struct hva_counters *counters)
{
	int fd = open("/proc/vmstat", O_RDONLY);
	char text[16384];
	size_t size = 0;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
		size += n;
	text[size] = 0;
	close(fd);
	counters->faults = value_of(text, "page_hva_faults_user ") +
			   value_of(text, "page_hva_faults_kernel ");
	counters->dropped = value_of(text, "page_hva_dropped ");
	return strstr(text, "page_hva_");
}

struct hva_counters hva_count(void)
{
	struct hva_counters counters;

	count(&counters);
	return counters;
}

bool hva_write_sysfs(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, text, strlen(text)) >= 0;

	if (fd >= 0)
		close(fd);
	return good;
}

void *hva_anon(size_t size)
{
	return hva_must(mmap(NULL, size, HVA_RW, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0));
}

int hva_wait(pid_t pid)
{
	int status;

	hva_must(waitpid(pid, &status, 0));
	return status;
}

/* No page of any file looks like another one. */
static void fill(unsigned char *to, size_t size, uint64_t seed)
{
	uint64_t x = seed;
	size_t i;

	for (i = 0; i < size / sizeof(x); i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		((uint64_t *)to)[i] = x ^ x >> 29;
	}
}

void hva_create_pages(struct hva_file *file, enum hva_kind kind, size_t pages)
{
	static uint64_t seed = 1;
	size_t end = pages * hva_page, at;
	char name[4096];

	snprintf(name, sizeof(name), "%s/page_hva.XXXXXX", hva_dir);
	file->fd = hva_must(mkstemp(name));
	hva_must(unlink(name));
	file->size = kind == HVA_TAIL ? end - hva_page / 3 : end;
	file->want = hva_anon(end);
	fill(file->want, end, (uint64_t)getpid() << 32 | seed++);
	memset(file->want + file->size, 0, end - file->size);
	hva_must(ftruncate(file->fd, file->size));
	for (at = 0; at < file->size; at += hva_page) {
		if (kind == HVA_SPARSE && at / hva_page % 3 == 1)
			memset(file->want + at, 0, hva_page);
		else
			hva_put(file, at, file->want + at,
				file->size - at < hva_page ?
				file->size - at : hva_page);
	}
	hva_must(fsync(file->fd));
	file->before = hva_count();
}

void hva_create(struct hva_file *file, enum hva_kind kind)
{
	hva_create_pages(file, kind, HVA_PAGES);
}

void hva_close(struct hva_file *file)
{
	close(file->fd);
}

void hva_note(const struct hva_file *file)
{
	struct hva_counters now = hva_count();

	fprintf(stderr, "#            %lu discard faults, %lu pages dropped\n",
		now.faults - file->before.faults,
		now.dropped - file->before.dropped);
}

int hva_reopen(const struct hva_file *file, int flags)
{
	char name[40];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", file->fd);
	return open(name, flags);
}

char *hva_map(const struct hva_file *file, int prot, int flags)
{
	char *map = hva_must(mmap(NULL, file->size, prot, flags, file->fd, 0));
	size_t at;

	for (at = 0; at < file->size && prot & PROT_READ; at += hva_page)
		hva_load(map + at);
	return map;
}

void hva_expect(struct hva_file *file, size_t off, const void *data, size_t size)
{
	memmove(file->want + off, data, size);
}

void hva_put(struct hva_file *file, size_t off, const void *data, size_t size)
{
	if (hva_must(pwrite(file->fd, data, size, off)) != size)
		hva_die("short write");
	hva_expect(file, off, data, size);
}

void hva_settle(void)
{
	if (settles)
		hva_write_sysfs(SETTLE, "1");
	else if (taken)
		usleep(LATE_US);
}

/* Pages are left alone until they are volatile, and gone. */
static void wait_until_gone(const struct hva_file *file)
{
	unsigned char there[4096];
	size_t size = file->size;
	int us, step = 100000;
	char *map;

	/* Nobody touches it: who asks need not have the pages. */
	map = hva_must(mmap(NULL, size, PROT_READ, MAP_SHARED, file->fd, 0));
	if (size > sizeof(there) * hva_page)
		size = sizeof(there) * hva_page;
	for (us = 0; us < LATE_US; us += step) {
		hva_must(mincore(map, size, there));
		if (!memchr(there, 1, (size + hva_page - 1) / hva_page))
			break;
		usleep(step);
	}
	hva_must(munmap(map, file->size));
}

/* Each other page of the file is dropped by this kernel. */
static void drop(const struct hva_file *file, void *map)
{
	size_t at;

	for (at = 0; at < file->size; at += 2 * hva_page) {
		if (map)
			madvise(map + at, hva_page, MADV_PAGEOUT);
		posix_fadvise(file->fd, at, hva_page, POSIX_FADV_DONTNEED);
	}
}

void hva_discard(const struct hva_file *file, void *map)
{
	hva_must(fsync(file->fd));
	if (!settles && taken)
		wait_until_gone(file);
	else
		hva_settle();
	if (!taken)
		drop(file, map);
}

long hva_wrong_at(const struct hva_file *file, const void *data, size_t off,
		  size_t size)
{
	const unsigned char *byte = data;
	size_t i;

	if (!memcmp(data, file->want + off, size))
		return -1;
	for (i = 0; i < size; i++)
		if (byte[i] != file->want[off + i])
			return off + i;
	/* What was wrong is right now, which is wrong. */
	return off;
}

long hva_wrong(const struct hva_file *file, const void *map)
{
	return hva_wrong_at(file, map, 0, file->size);
}

static long wrong_read(const struct hva_file *file)
{
	char *buffer = hva_anon(file->size);
	long wrong;

	if (pread(file->fd, buffer, file->size, 0) != file->size)
		return file->size;
	wrong = hva_wrong(file, buffer);
	hva_must(munmap(buffer, file->size));
	return wrong;
}

long hva_wrong_file(const struct hva_file *file)
{
	long wrong = wrong_read(file);
	char *map;

	if (wrong < 0) {
		hva_discard(file, NULL);
		wrong = wrong_read(file);
	}
	if (wrong < 0) {
		hva_must(fsync(file->fd));
		posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
		map = hva_map(file, PROT_READ, MAP_SHARED);
		wrong = hva_wrong(file, map);
		hva_must(munmap(map, file->size));
	}
	return wrong;
}

/* Does the host take what is volatile as soon as it is? */
static bool host_takes(void)
{
	struct hva_file file;
	unsigned long faults;
	char *map;

	/* The pages are mapped by the first look, without a wait for I/O. */
	hva_create(&file, HVA_FULL);
	map = hva_map(&file, PROT_READ, MAP_SHARED);
	if (settles)
		hva_write_sysfs(SETTLE, "1");
	else
		usleep(LATE_US);
	faults = hva_count().faults;
	if (hva_wrong(&file, map) >= 0)
		hva_die("a page that was volatile is wrong");
	faults = hva_count().faults - faults;
	hva_must(munmap(map, file.size));
	hva_close(&file);
	return faults >= HVA_PAGES * 3 / 4;
}

void hva_start(void)
{
	static const char * const names[] = { "PAGE_HVA_DIR", "TMPDIR" };
	struct hva_counters counters;
	struct utsname system;
	struct statfs fs;
	int i;

	/* The messages here come after the header, which is printed once. */
	ksft_print_header();
	setenv("KSFT_TAP_LEVEL", "1", 1);
	if (uname(&system) || strcmp(system.machine, "s390x"))
		ksft_exit_skip("only s390x has page host virtual assist\n");
	hva_page = sysconf(_SC_PAGESIZE);
	if (!count(&counters))
		ksft_exit_skip("the kernel has no CONFIG_PAGE_HVA\n");
	if (access(SYSFS, F_OK))
		ksft_exit_skip("not enabled: boot with page_hva=on, dmesg says if it is refused\n");
	for (i = 0; i < ARRAY_SIZE(names) && !hva_dir; i++)
		hva_dir = getenv(names[i]);
	hva_dir = hva_dir ?: ".";
	if (statfs(hva_dir, &fs) || access(hva_dir, W_OK))
		ksft_exit_skip("%s: %s: set PAGE_HVA_DIR to a directory on a disk\n",
			       hva_dir, strerror(errno));
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		ksft_exit_skip("%s has no disk, its pages are never volatile: set PAGE_HVA_DIR\n",
			       hva_dir);
	settles = !access(SETTLE, W_OK);
	taken = host_takes();
	ksft_print_msg("files in %s; pages turn volatile %s; %s\n", hva_dir,
		       settles ? "by " SETTLE : "when they are left alone",
		       taken ? "the host discards them at once" :
		       "the host may discard them at any time, and each other one is dropped here");
}
