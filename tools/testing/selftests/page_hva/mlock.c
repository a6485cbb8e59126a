// SPDX-License-Identifier: GPL-2.0
/* Locked memory does not fault, although its pages were gone when it was locked. */
#include <sys/resource.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(mlock)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(mlock)
{
	int flags;
	int (*lock)(void *map, size_t size);
	int (*unlock)(void *map, size_t size);
	bool present;	/* all of it is there after lock() */
};

static int do_lock(void *map, size_t size)
{
	return mlock(map, size);
}

static int do_lock_onfault(void *map, size_t size)
{
	return mlock2(map, size, MLOCK_ONFAULT);
}

static int do_lock_all(void *map, size_t size)
{
	return mlockall(MCL_CURRENT);
}

static int do_unlock(void *map, size_t size)
{
	return munlock(map, size);
}

static int do_unlock_all(void *map, size_t size)
{
	return munlockall();
}

FIXTURE_VARIANT_ADD(mlock, shared) {
	.flags = MAP_SHARED, .present = true,
	.lock = do_lock, .unlock = do_unlock,
};

FIXTURE_VARIANT_ADD(mlock, private) {
	.flags = MAP_PRIVATE, .present = true,
	.lock = do_lock, .unlock = do_unlock,
};

FIXTURE_VARIANT_ADD(mlock, onfault) {
	.flags = MAP_SHARED,
	.lock = do_lock_onfault, .unlock = do_unlock,
};

FIXTURE_VARIANT_ADD(mlock, all) {
	.flags = MAP_SHARED, .present = true,
	.lock = do_lock_all, .unlock = do_unlock_all,
};

FIXTURE_SETUP(mlock)
{
	hva_create(&self->file, HVA_FULL);
	self->map = hva_map(&self->file, PROT_READ, variant->flags);
	hva_discard(&self->file, self->map);
	if (variant->lock(self->map, self->file.size)) {
		ASSERT_TRUE(errno == ENOMEM || errno == EPERM);
		SKIP(return, "not allowed to lock so much memory");
	}
}

FIXTURE_TEARDOWN(mlock)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

static long faults(void)
{
	struct rusage usage;

	hva_must(getrusage(RUSAGE_SELF, &usage));
	return usage.ru_minflt + usage.ru_majflt;
}

/* By the second look all of it is there; by the first if that was promised. */
TEST_F(mlock, no_fault)
{
	long before;
	int i;

	/* This code and this stack are there. */
	faults();
	hva_wrong_at(&self->file, self->file.want, 0, self->file.size);
	for (i = 0; i < 3; i++) {
		before = faults();
		ASSERT_RIGHT(&self->file, self->map);
		if (i || variant->present)
			ASSERT_EQ(before, faults());
		hva_discard(&self->file, NULL);
	}
}

TEST_F(mlock, unlocked)
{
	ASSERT_EQ(0, variant->unlock(self->map, self->file.size));
	hva_discard(&self->file, self->map);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* What is read by others and locked here stays. */
TEST_F(mlock, read)
{
	char *buffer = hva_anon(self->file.size);

	ASSERT_EQ(self->file.size,
		  pread(self->file.fd, buffer, self->file.size, 0));
	ASSERT_RIGHT(&self->file, buffer);
	ASSERT_FILE(&self->file);
	ASSERT_RIGHT(&self->file, self->map);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
