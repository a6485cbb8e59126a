// SPDX-License-Identifier: GPL-2.0
/* Pages are moved to other page frames. */
#include "../kselftest_harness.h"
#include "page_hva.h"

#define COMPACT	"/proc/sys/vm/compact_memory"

FIXTURE(migrate)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(migrate)
{
	enum hva_kind kind;
	int prot, flags;
};

FIXTURE_VARIANT_ADD(migrate, shared) {
	.prot = HVA_RW, .flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(migrate, private) {
	.prot = HVA_RW, .flags = MAP_PRIVATE,
};

FIXTURE_VARIANT_ADD(migrate, not_mapped) { .prot = 0 };
FIXTURE_VARIANT_ADD(migrate, sparse) {
	.prot = PROT_READ, .flags = MAP_SHARED, .kind = HVA_SPARSE,
};

FIXTURE_SETUP(migrate)
{
	hva_create(&self->file, variant->kind);
	if (variant->prot)
		self->map = hva_map(&self->file, variant->prot, variant->flags);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(migrate)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/*
 * Leaves holes in memory, so that compaction has something to do: each other
 * page of what came by a big file is dropped.
 */
static void fragment(struct hva_file *file)
{
	size_t at;

	hva_create_pages(file, HVA_FULL, 512);
	for (at = 0; at < file->size; at += 2 * hva_page)
		posix_fadvise(file->fd, at, hva_page, POSIX_FADV_DONTNEED);
}

TEST_F(migrate, compact)
{
	struct hva_file big;
	int i;

	if (access(COMPACT, W_OK))
		SKIP(return, "no compaction, or not root");
	fragment(&big);
	for (i = 0; i < 2; i++) {
		hva_discard(&big, NULL);
		hva_discard(&self->file, self->map);
		ASSERT_TRUE(hva_write_sysfs(COMPACT, "1"));
		if (self->map)
			ASSERT_RIGHT(&self->file, self->map);
	}
	ASSERT_FILE(&self->file);
	ASSERT_FILE(&big);
	hva_close(&big);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
