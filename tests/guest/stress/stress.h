/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of stress: ../stress.c runs operations, content.c knows what files hold, area.c takes a part of a file, op-*.c
 * are the operations.
 */
#ifndef STRESS_H
#define STRESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../clock.h"
#include "mix.h"

#define PAGE		4096u
#define BLK		512u			/* what one key describes: an eighth of a page, and a sector */
#define KIB64		(16 * PAGE)
#define RW		(PROT_READ | PROT_WRITE)
#define FILE_MAX	(1u << 20)		/* of a file that changes */
#define RO_SIZE		(4u << 20)
#define MAX_PROCS	64
#define MAX_OPS		96
#define RO_FILES	3

/* The content of a block is a function of its key, up to @len; zeros follow. */
struct blk {
	uint64_t key;
	uint64_t prev;				/* the key before: to say so when a stale block turns up */
	uint32_t len;
};

struct file {
	pthread_rwlock_t lock;			/* guards all that follows, and the file itself */
	bool fixed;				/* never changes: no lock needed */
	char name[16];				/* in the working directory of stress */
	uint64_t size;
	uint32_t nblk;
	struct blk *blk;
};

struct worker {
	pid_t pid;
	int op;					/* index into the table */
	int64_t beat;				/* when it started, in ms */
	bool finished;
	uint64_t count[MAX_OPS];
};

/* One mapping that every process shares. */
struct shared {
	uint64_t seed;
	int procs;
	int nfiles;				/* that change */
	bool outside;				/* it is the fixed files that matter */
	int failed;
	int64_t hang_ms;
	int64_t deadline;
	char sabotage[16];
	char dynamic[256];
	uint64_t self_sum, dynamic_sum;
	int unsupported[MAX_OPS];		/* the errno that said so */
	struct worker worker[MAX_PROCS + 1];	/* the last one makes the memory pressure */
	struct file stripes;
	struct file ro[RO_FILES];
	struct file file[2 * MAX_PROCS];
};

/*
 * An operation returns 0, or NOT_NOW when what it happened to choose does not fit, or the errno by which the system
 * says that it does not know it. Every other failure ends in fail(). What it opens, maps and locks by the functions
 * below is released by the caller.
 */
#define NOT_NOW (-1)

struct op {
	const char *name;
	int (*fn)(void);
	int weight;
	bool optional;				/* a kernel may be configured without it */
};

extern const struct op io_ops[], uring_ops[], loop_ops[], map_ops[], process_ops[], name_ops[];
extern struct shared *sh;
extern struct worker *me;
extern int my_number;

/* ../stress.c */
const char *op_name(void);

/* content.c: random choices, expectations, failures */
void seed_rnd(uint64_t seed);
uint64_t rnd(void);
uint32_t below(uint32_t n);
bool chance(int percent);
bool sabotage(const char *what);
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void fill(const struct file *f, uint64_t off, size_t len, void *buf);
void check(const struct file *f, uint64_t off, const void *p, size_t len);
void check_memory(const char *what, const void *want, const void *got, size_t len);
void new_content(struct file *f, uint64_t off, size_t len);
void new_tail(struct file *f, size_t len);
void copy_content(struct file *d, uint64_t doff, const struct file *s, uint64_t soff, size_t len);
void zero_content(struct file *f, uint64_t off, size_t len);
void set_size(struct file *f, uint64_t size);

/* area.c: a part of a file, locked and open; released after the operation */
struct area {
	struct file *f;
	int fd;
	uint64_t off;
	size_t len;
};

struct area area_read(unsigned int align, size_t max);
struct area area_write(unsigned int align, size_t max);
struct area area_inside(unsigned int align, size_t max);	/* to write, but not beyond the end */
void area_pair(struct area *s, struct area *d, unsigned int align, size_t max);
void recycle(const struct area *a);
void recycle_mapped(const struct area *a, void *p);
void verify(const struct area *a);
int keep_fd(int fd, const char *what);
void forget_fd(int fd);
int open_area(const struct area *a, int flags);
char *map_area(const struct area *a, int prot, int flags);
char *anon(size_t len);
void write_at(int fd, const void *p, size_t len, uint64_t off);
void read_at(int fd, void *p, size_t len, uint64_t off);
void make_file(struct file *f, const char *name, size_t size);
void expect_file(struct file *f, const char *name, size_t size);
pid_t spawn(void);
void reap(pid_t pid);
void release_all(void);

#define must(call) ({ typeof(call) r_ = (call); if (r_ == (typeof(call))-1) fail("%s: %m", #call); r_; })

#endif
