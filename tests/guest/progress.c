// SPDX-License-Identifier: GPL-2.0
/*
 * progress - accesses that a host could starve, and what it costs to read a file again
 *
 * usage: progress several DIR COUNT
 *            executes one instruction COUNT times that needs eight pages of files at once: an
 *            EXECUTE that crosses pages, its target that crosses pages, and both operands of it
 *        progress read FILE
 *        progress mmap FILE
 *            reads all pages in order, and prints for how many us a single CPU was busy
 *        progress list FILE
 *            the same by read(), for each file that FILE has a line for
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "settle.h"

#define PAGE 4096
#define PAGES 4				/* of each of the two files */
#define EXECUTE (PAGE - 2)		/* where in the program it is */
#define TARGET (3 * PAGE - 2)
#define FIRST (PAGE - 128)		/* where in the data the operands are */
#define SECOND (3 * PAGE - 128)
#define LENGTH 256

/* compare(first, second, target, length - 1) returns the condition code. */
typedef unsigned long (*compare)(const char *, const char *, const char *, unsigned long);

static const unsigned char execute[] = {
	0x44, 0x50, 0x40, 0x00,			/* EX   5,0(4) */
	0xb2, 0x22, 0x00, 0x20,			/* IPM  2 */
	0x88, 0x20, 0x00, 0x1c,			/* SRL  2,28 */
	0xb9, 0x16, 0x00, 0x22,			/* LLGFR 2,2 */
	0x07, 0xfe,				/* BR   14 */
};

static const unsigned char target[] = {
	0xd5, 0x00, 0x20, 0x00, 0x30, 0x00,	/* CLC  0(0,2),0(3) */
};

static double ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int make(const char *dir, const char *name, const char *content)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0700);
	if (fd < 0 || write(fd, content, PAGES * PAGE) != PAGES * PAGE || fsync(fd))
		err(1, "%s", path);
	return fd;
}

static char *map(int fd, int prot)
{
	char *p = mmap(NULL, PAGES * PAGE, prot, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

static void several(const char *dir, int count)
{
	char program[PAGES * PAGE] = { 0 }, data[PAGES * PAGE];
	double start = ms();
	int code_fd, data_fd;

	memcpy(program + EXECUTE, execute, sizeof(execute));
	memcpy(program + TARGET, target, sizeof(target));
	for (int i = 0; i < PAGES * PAGE; i++)
		data[i] = i * 7;
	memcpy(data + SECOND, data + FIRST, LENGTH);
	code_fd = make(dir, "progress-code", program);
	data_fd = make(dir, "progress-data", data);
	for (int i = 0; i < count; i++) {
		char *code = map(code_fd, PROT_READ | PROT_EXEC);
		char *bytes = map(data_fd, PROT_READ);
		unsigned long length = LENGTH - i % 2, cc;

		cc = ((compare)(code + EXECUTE))(bytes + FIRST, bytes + SECOND + i % 2, code + TARGET,
						 length - 1);
		if (!cc != !(i % 2))
			errx(1, "round %d: condition code %lu", i, cc);
		munmap(code, PAGES * PAGE);
		munmap(bytes, PAGES * PAGE);
		settle();
	}
	printf("%d times in %.0f ms\n", count, ms() - start);
}

/* The CPU is idle while it waits for the disk. */
static unsigned long busy_us(void)
{
	unsigned long idle;
	FILE *file = fopen("/sys/devices/system/cpu/cpu0/idle_time_us", "r");

	if (!file || fscanf(file, "%lu", &idle) != 1)
		err(1, "idle_time_us");
	fclose(file);
	return ms() * 1e3 - idle;
}

static void by_read(int fd)
{
	static char buffer[64 << 10];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		;
	if (n)
		err(1, "read");
}

static void by_mmap(int fd)
{
	struct stat st;
	volatile char *p;

	if (fstat(fd, &st))
		err(1, "fstat");
	p = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(1, "mmap");
	for (off_t off = 0; off < st.st_size; off += PAGE)
		p[off];
	munmap((void *)p, st.st_size);
}

static int open_file(const char *name)
{
	int fd = open(name, O_RDONLY);

	if (fd < 0)
		err(1, "%s", name);
	return fd;
}

static void by_list(const char *list)
{
	FILE *names = fopen(list, "r");
	char name[4096];

	if (!names)
		err(1, "%s", list);
	while (fgets(name, sizeof(name), names)) {
		int fd;

		name[strcspn(name, "\n")] = 0;
		fd = open_file(name);
		by_read(fd);
		close(fd);
	}
	fclose(names);
}

int main(int argc, char **argv)
{
	unsigned long start;

	if (argc == 4 && !strcmp(argv[1], "several")) {
		several(argv[2], atoi(argv[3]));
		return 0;
	}
	if (argc != 3)
		errx(2, "usage: progress several DIR COUNT | read FILE | mmap FILE | list FILE");
	start = busy_us();
	if (!strcmp(argv[1], "read"))
		by_read(open_file(argv[2]));
	else if (!strcmp(argv[1], "list"))
		by_list(argv[2]);
	else
		by_mmap(open_file(argv[2]));
	printf("busy %lu\n", busy_us() - start);
	return 0;
}
