// SPDX-License-Identifier: GPL-2.0
/* Several processes and threads have the same pages, which are gone. */
#include <pthread.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(fork)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(fork)
{
	enum hva_kind kind;
	int flags;
};

FIXTURE_VARIANT_ADD(fork, shared) { .flags = MAP_SHARED };
FIXTURE_VARIANT_ADD(fork, private) { .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(fork, sparse) { .flags = MAP_SHARED, .kind = HVA_SPARSE };

FIXTURE_SETUP(fork)
{
	hva_create(&self->file, variant->kind);
	self->map = hva_map(&self->file, HVA_RW, variant->flags);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(fork)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* It inherits page table entries of pages that are gone. */
TEST_F(fork, load)
{
	pid_t child[4];
	int i;

	for (i = 0; i < ARRAY_SIZE(child); i++) {
		child[i] = hva_must(fork());
		if (!child[i])
			_exit(hva_wrong(&self->file, self->map) != -1);
	}
	for (i = 0; i < ARRAY_SIZE(child); i++)
		ASSERT_EQ(0, hva_wait(child[i]));
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* Each stores bytes of its own, into the same pages. */
TEST_F(fork, store)
{
	char *want = hva_anon(self->file.size);
	pid_t child[4];
	size_t at;
	int i;

	memcpy(want, self->file.want, self->file.size);
	for (i = 0; i < ARRAY_SIZE(child); i++) {
		child[i] = hva_must(fork());
		for (at = 10 + i; at < self->file.size; at += hva_page) {
			if (!child[i])
				hva_store(self->map + at, 'f');
			if (variant->flags == MAP_SHARED)
				want[at] = 'f';
		}
		if (!child[i])
			_exit(0);
	}
	for (i = 0; i < ARRAY_SIZE(child); i++)
		ASSERT_EQ(0, hva_wait(child[i]));
	hva_expect(&self->file, 0, want, self->file.size);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* While a child holds on to the mapping, its parent gives it up. */
TEST_F(fork, inherit)
{
	int ends[2], i;
	pid_t child;
	char byte;

	hva_must(pipe(ends));
	child = hva_must(fork());
	if (!child) {
		alarm(30);
		for (i = 0; i < 3; i++) {
			if (read(ends[0], &byte, 1) != 1 ||
			    hva_wrong(&self->file, self->map) != -1)
				_exit(1);
		}
		_exit(0);
	}
	hva_must(munmap(self->map, self->file.size));
	for (i = 0; i < 3; i++) {
		hva_discard(&self->file, NULL);
		ASSERT_EQ(1, write(ends[1], "", 1));
	}
	ASSERT_EQ(0, hva_wait(child));
	ASSERT_FILE(&self->file);
}

static void *look(void *file_and_map)
{
	void **pair = file_and_map;

	return (void *)hva_wrong(pair[0], pair[1]);
}

TEST_F(fork, threads)
{
	void *pair[] = { &self->file, self->map }, *wrong;
	pthread_t thread[4];
	int i, round;

	for (round = 0; round < 5; round++) {
		for (i = 0; i < ARRAY_SIZE(thread); i++)
			ASSERT_EQ(0, pthread_create(&thread[i], NULL, look, pair));
		for (i = 0; i < ARRAY_SIZE(thread); i++) {
			ASSERT_EQ(0, pthread_join(thread[i], &wrong));
			ASSERT_EQ(-1, (long)wrong);
		}
		hva_discard(&self->file, self->map);
	}
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
