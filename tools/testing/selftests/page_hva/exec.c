// SPDX-License-Identifier: GPL-2.0
/* Programs, scripts and instructions in pages that are gone. */
#include <limits.h>
#include <sys/stat.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

#define RAN	42	/* the exit status of this program if it is a child */

FIXTURE(exec)
{
	struct hva_file file;
};

FIXTURE_SETUP(exec)
{
	hva_create(&self->file, HVA_FULL);
}

FIXTURE_TEARDOWN(exec)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* What cannot be written to any more can be executed. */
static void close_for_write(struct hva_file *file)
{
	int fd = hva_must(hva_reopen(file, O_RDONLY));

	hva_must(fchmod(file->fd, 0700));
	hva_must(fsync(file->fd));
	hva_must(close(file->fd));
	file->fd = fd;
}

static int exec_file(int fd)
{
	pid_t child = hva_must(fork());
	char name[40], *argv[] = { name, "--child", NULL };

	if (!child) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		execv(name, argv);
		_exit(errno);
	}
	return WEXITSTATUS(hva_wait(child));
}

/* This program is the content of a file. */
static void copy_program(struct hva_file *file)
{
	int fd = hva_must(open("/proc/self/exe", O_RDONLY));
	off_t size = hva_must(lseek(fd, 0, SEEK_END));

	hva_close(file);
	hva_create_pages(file, HVA_FULL, (size + hva_page - 1) / hva_page);
	hva_must(ftruncate(file->fd, size));
	file->size = size;
	if (hva_must(pread(fd, file->want, size, 0)) != size)
		hva_die("short read of the program");
	hva_put(file, 0, file->want, size);
	hva_must(close(fd));
}

TEST_F(exec, program)
{
	int i;

	copy_program(&self->file);
	close_for_write(&self->file);
	for (i = 0; i < 4; i++) {
		hva_discard(&self->file, NULL);
		ASSERT_EQ(RAN, exec_file(self->file.fd));
	}
	ASSERT_FILE(&self->file);
}

/* Its pages vanish while it runs. */
TEST_F(exec, program_runs)
{
	char name[] = "runs", *argv[] = { name, "--wait", NULL }, byte;
	int in[2], out[2], i;
	pid_t child;

	copy_program(&self->file);
	close_for_write(&self->file);
	hva_must(pipe(in));
	hva_must(pipe(out));
	child = hva_must(fork());
	if (!child) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		fexecve(self->file.fd, argv, environ);
		_exit(errno);
	}
	close(out[1]);
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(1, read(out[0], &byte, 1));
		hva_discard(&self->file, NULL);
		ASSERT_EQ(1, write(in[1], "", 1));
	}
	close(in[1]);
	ASSERT_EQ(RAN, WEXITSTATUS(hva_wait(child)));
}

/* The kernel itself reads the first line of a script. */
TEST_F(exec, script)
{
	char exe[PATH_MAX] = "", line[PATH_MAX + 20];
	int i;

	hva_must(readlink("/proc/self/exe", exe, sizeof(exe) - 1));
	snprintf(line, sizeof(line), "#!%s --child\n", exe);
	if (strlen(line) > 250)
		SKIP(return, "the name of this program is too long");
	hva_put(&self->file, 0, line, strlen(line));
	close_for_write(&self->file);
	for (i = 0; i < 4; i++) {
		hva_discard(&self->file, NULL);
		ASSERT_EQ(RAN, exec_file(self->file.fd));
	}
	ASSERT_FILE(&self->file);
}

/* What follows is machine code of s390: lghi %r2,NUMBER; br %r14 */
static void put_function(struct hva_file *file, size_t at, int number)
{
	unsigned char code[] = { 0xa7, 0x29, number >> 8, number, 0x07, 0xfe };

	hva_put(file, at, code, sizeof(code));
}

/* Also across the border of two pages: each instruction, and both together. */
TEST_F(exec, instructions)
{
	int starts[] = { 0, -2, -4 }, page, round;
	long (*function)(void);
	char *map;

	for (page = 1; page < HVA_PAGES; page++)
		put_function(&self->file, page * hva_page + starts[page % 3],
			     page + 1000);
	map = hva_map(&self->file, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	for (round = 0; round < 3; round++) {
		hva_discard(&self->file, map);
		for (page = 1; page < HVA_PAGES; page++) {
			function = (void *)(map + page * hva_page +
					    starts[page % 3]);
			ASSERT_EQ(page + 1000, function());
		}
	}
	ASSERT_FILE(&self->file);
}

/* EXECUTE: the instruction and its target are in pages that are gone. */
TEST_F(exec, execute)
{
	/* exrl %r0,two pages from here; br %r14 */
	unsigned char code[] = { 0xc6, 0x00, 0, 0, 0, 0, 0x07, 0xfe };
	/* lghi %r2,1234 */
	unsigned char target[] = { 0xa7, 0x29, 1234 >> 8, 1234 & 0xff };
	uint32_t halfwords = hva_page;
	long (*function)(void);
	char *map;
	int i;

	memcpy(code + 2, &halfwords, sizeof(halfwords));
	hva_put(&self->file, 3 * hva_page - 4, code, sizeof(code));
	hva_put(&self->file, 5 * hva_page - 4, target, sizeof(target));
	map = hva_map(&self->file, PROT_READ | PROT_EXEC, MAP_SHARED);
	function = (void *)(map + 3 * hva_page - 4);
	for (i = 0; i < 3; i++) {
		hva_discard(&self->file, map);
		ASSERT_EQ(1234, function());
	}
}

int main(int argc, char **argv)
{
	char byte = 0;

	/* A script has its name behind. */
	if (argc > 1 && !strcmp(argv[1], "--child"))
		return RAN;
	if (argc > 1 && !strcmp(argv[1], "--wait")) {
		do {
			if (write(1, &byte, 1) != 1)
				break;
		} while (read(0, &byte, 1) == 1);
		return RAN;
	}
	hva_start();
	return test_harness_run(argc, argv);
}
