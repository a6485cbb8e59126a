/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of page host virtual assist share: files whose content is
 * known, and the one verb that makes their pages volatile and lets them be
 * discarded.  Documentation/mm/page_hva.rst says what that means.
 */
#ifndef SELFTEST_PAGE_HVA_H
#define SELFTEST_PAGE_HVA_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define HVA_PAGES	20
#define HVA_RW		(PROT_READ | PROT_WRITE)

enum hva_kind {
	HVA_FULL,	/* all pages have blocks on disk */
	HVA_SPARSE,	/* each third page is a hole */
	HVA_TAIL,	/* the file ends within the last page */
};

/* What the kernel has counted since it was booted. */
struct hva_counters {
	unsigned long faults, dropped;
};

/* A file that has no name any more, and what is to be in it. */
struct hva_file {
	int fd;
	size_t size;
	unsigned char *want;
	struct hva_counters before;	/* when it was made */
};

extern size_t hva_page;
extern const char *hva_dir;	/* where files are made */

/* For main(): skips where there is nothing to test. */
void hva_start(void);

void hva_create(struct hva_file *file, enum hva_kind kind);
void hva_create_pages(struct hva_file *file, enum hva_kind kind, size_t pages);
void hva_close(struct hva_file *file);
/* Says what was met since the file was made. */
void hva_note(const struct hva_file *file);
int hva_reopen(const struct hva_file *file, int flags);
/* The whole file; each page is in the page tables, if it can be read. */
char *hva_map(const struct hva_file *file, int prot, int flags);
/* Writes to the file by write(), and remembers that. */
void hva_put(struct hva_file *file, size_t off, const void *data, size_t size);
/* What is to be there from now on, by whatever way it gets there. */
void hva_expect(struct hva_file *file, size_t off, const void *data, size_t size);

/*
 * Makes the pages of the file clean and volatile, and lets them be discarded.
 * A mapping of all of it, if there is one, stays as it is.
 */
void hva_discard(const struct hva_file *file, void *map);
/* The same without a file: what was left alone turns volatile. */
void hva_settle(void);

/* The offset of the first byte that is wrong, or -1 if none is. */
long hva_wrong_at(const struct hva_file *file, const void *data, size_t off,
		  size_t size);
long hva_wrong(const struct hva_file *file, const void *map);
/* The same of the file: as it is cached, discarded, and read from its disk. */
long hva_wrong_file(const struct hva_file *file);

struct hva_counters hva_count(void);
bool hva_write_sysfs(const char *path, const char *text);
void *hva_anon(size_t size);
/* The wait status of a child. */
int hva_wait(pid_t pid);
void __noreturn hva_die(const char *what);

/* No compiler leaves these out. */
static inline char hva_load(const void *from)
{
	return __atomic_load_n((const char *)from, __ATOMIC_RELAXED);
}

static inline void hva_store(void *to, char byte)
{
	__atomic_store_n((char *)to, byte, __ATOMIC_RELAXED);
}

/* A system call that can only fail if the test itself is wrong. */
#define hva_must(call) ({						\
	typeof(call) _r = (call);					\
									\
	if (_r == (typeof(_r))-1)					\
		hva_die(#call);						\
	_r;								\
})

#define ASSERT_RIGHT(file, map)		ASSERT_EQ(-1, hva_wrong(file, map))
#define ASSERT_FILE(file)		ASSERT_EQ(-1, hva_wrong_file(file))

#endif
