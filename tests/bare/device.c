// SPDX-License-Identifier: GPL-2.0
/*
 * A device that accesses blocks: a driver of virtio-rng that can be wrong.
 *
 * A device writes its random bytes wherever it is told to.  What the host should
 * have noticed is printed as a line that begins with "@@": "resident", or the
 * way of the access, then the page and its state.  tests/steps/device.py
 * compares them with what the host has traced.
 */

#include "bare.h"

#define SUBCHANNEL	0x10000UL
#define LEN		64U

enum { CMD_SET_QUEUE = 0x13, CMD_RESET = 0x33, CMD_STATUS = 0x31,
       CMD_READ_QUEUE = 0x32, CMD_INDICATORS = 0x43 };

/*
 * As it was before virtio 1.0: big-endian here, one address for all of it, and
 * as large as the device says.
 */
#define MAX_ENTRIES	1024

static u8 queue[8 * PAGE] __attribute__((aligned(PAGE)));

static volatile struct { u64 address; u32 len; u16 flags, next; } *descriptor;
static volatile struct { u16 flags, index, ring[]; } *available;
static volatile struct {
	u16 flags, index;
	struct { u32 id, len; } ring[];
} *used;

static u64 page(int i)
{
	return (u64)pages[i];
}

static u64 page_of(const volatile void *address)
{
	return (u64)address & -PAGE;
}

#define IO_INSN(name, type)							\
	static int name(type *operand)						\
	{									\
		register u64 gr1 asm("1") = SUBCHANNEL;				\
		int cc;								\
										\
		asm volatile(#name " 0(%2)\n\tipm %0\n\tsrl %0,28"		\
			     : "=d" (cc) : "d" (gr1), "a" (operand) : "cc", "memory");	\
		return cc;							\
	}
IO_INSN(stsch, u32)
IO_INSN(msch, u32)
IO_INSN(ssch, u32)
IO_INSN(tsch, u32)

static void wait_for_status(u32 *irb)
{
	u64 limit = tod_ms() + 5000;

	while (tsch(irb))
		if (tod_ms() > limit) {
			equal("status within 5 s", 0, 1);
			return;
		}
}

/* The compiler does not take a truncated pointer for a use of the object. */
static u32 address_31(const void *object)
{
	asm volatile("" : : "a" (object) : "memory");
	return (u64)object;
}

static void channel_command(int command, void *data, u32 len)
{
	u32 ccw[2] __attribute__((aligned(8))) = { command << 24 | len, address_31(data) };
	/* Format 1, prefetch, all paths */
	u32 orb[8] = { 0, 0x00c0ff00, address_31(ccw) };
	u32 irb[24];

	equal("SSCH", ssch(orb), 0);
	wait_for_status(irb);
	equal("status: channel end, device end", irb[2] >> 16, 0x0c00);
}

/* As new, with its indicators at that address. */
static void start_device(u64 indicators)
{
	struct { u16 index, entries; } config = { 0, 0 };
	struct { u64 queue; u32 align; u16 index, entries; } info = { (u64)queue, PAGE, 0, 0 };
	u8 status = 7;			/* acknowledged, driver, driver ok */
	u32 schib[13];

	equal("STSCH", stsch(schib), 0);
	schib[1] |= 0x00800000;		/* enabled */
	equal("MSCH", msch(schib), 0);
	channel_command(CMD_RESET, 0, 0);
	channel_command(CMD_READ_QUEUE, &config, 4);
	info.entries = config.entries;
	equal("entries fit", info.entries <= MAX_ENTRIES, 1);
	fill(queue, 0, sizeof(queue));
	descriptor = (void *)queue;
	available = (void *)(descriptor + info.entries);
	used = (void *)page_of((u8 *)&available->ring[info.entries + 1] + PAGE - 1);
	channel_command(CMD_SET_QUEUE, &info, 16);
	channel_command(CMD_INDICATORS, &indicators, 8);
	channel_command(CMD_STATUS, &status, 1);
}

static void prepare_buffer(u64 address)
{
	descriptor[0].address = address;
	descriptor[0].len = LEN;
	descriptor[0].flags = 2;	/* the device writes */
}

/*
 * Returns when the device is done with all of it.  The device may have begun before it
 * is notified: what is wrong must be so before the buffer is available.
 */
static void request(void)
{
	register u64 gr1 asm("1") = 3;
	register u64 gr2 asm("2") = SUBCHANNEL;
	register u64 gr3 asm("3") = 0;
	u32 irb[24];

	barrier();
	available->index++;
	barrier();
	asm volatile("diag %%r2,%%r4,0x500" : "+d" (gr2) : "d" (gr1), "d" (gr3) : "memory");
	equal("notified", gr2, 0);
	wait_for_status(irb);
}

static u64 indicators;

static void device_writes(u64 address)
{
	start_device((u64)&indicators);
	prepare_buffer(address);
	request();
	equal("used", used->index, 1);
	equal("length", used->ring[0].len, LEN);
}

static void noticed(const char *what, u64 block)
{
	say("@@%s 0x%lx 0x%lx\n", what, block, essa(GET, block));
}

/* The host discards at once what is volatile. */
static void enter(int state, u64 block)
{
	essa(SET_STABLE, block);
	fill((void *)block, 0x5a, PAGE);
	if ((state & 3) == 3)
		essa(SET_VOLATILE, block);
	if ((state & USAGE) == (Ur & USAGE))
		essa(SET_UNUSED, block);
	else if ((state & USAGE) == (Sr & USAGE))
		essa(SET_STABLE, block);
	allowed("state to start from", essa(GET, block), ANY(state));
}

static void a_device_writes_to_a_stable_block(void)
{
	enter(Sr, page(BAD));
	device_writes(page(BAD) + 256);
	equal("state", essa(GET, page(BAD)), Sr);
	equal("written", filled((void *)(page(BAD) + 256), 0x5a, LEN), 0);
	equal("kept", filled(pages[BAD], 0x5a, 256), 1);
	equal("kept", filled((void *)(page(BAD) + 256 + LEN), 0x5a, PAGE - 256 - LEN), 1);
}

static void a_device_makes_the_block_resident_that_it_writes_to(void)
{
	enter(Sz, page(BAD));
	enter(Sz, page(BAD + 1));
	noticed("resident", page(BAD));
	device_writes(page(BAD) + 256);
	equal("state", essa(GET, page(BAD)), Sr);
	equal("its neighbour", essa(GET, page(BAD + 1)), Sz);
	equal("written", filled((void *)(page(BAD) + 256), 0, LEN), 0);
	equal("zero", filled(pages[BAD], 0, 256), 1);
}

static void a_device_writes_to_a_block_that_is_not_its_own(void)
{
	static const u8 states[] = { Ur, Uz, Vz };

	for (u64 i = 0; i < ARRAY_SIZE(states); i++) {
		enter(states[i], page(BAD));
		noticed("write", page(BAD));
		device_writes(page(BAD) + 256);
		allowed("state", essa(GET, page(BAD)), ANY(states[i]));
		essa(SET_STABLE, page(BAD));
	}
}

static void the_second_page_of_a_buffer_is_not_its_own(void)
{
	enter(Sr, page(BAD));
	enter(Vz, page(BAD + 1));
	enter(Vz, page(BAD + 2));
	noticed("write", page(BAD + 1));
	device_writes(page(BAD + 1) - LEN / 2);
	equal("first half", filled((void *)(page(BAD + 1) - LEN / 2), 0x5a, LEN / 2), 0);
	essa(SET_STABLE, page(BAD + 1));
	essa(SET_STABLE, page(BAD + 2));
}

static void the_device_reads_descriptors_that_are_unused(void)
{
	u64 block = page_of(descriptor);

	start_device((u64)&indicators);
	prepare_buffer(page(BAD));
	essa(SET_UNUSED, block);
	noticed("read", block);
	request();
	essa(SET_STABLE, block);
	equal("used", used->index, 1);
}

static void the_device_writes_a_used_ring_that_is_unused(void)
{
	u64 block = page_of(used);

	start_device((u64)&indicators);
	prepare_buffer(page(BAD));
	essa(SET_UNUSED, block);
	noticed("write", block);
	request();
	essa(SET_STABLE, block);
	equal("used", used->index, 1);
}

static void the_device_sets_indicators_that_are_unused(void)
{
	enter(Sr, page(BAD + 1));
	start_device(page(BAD + 1));
	prepare_buffer(page(BAD));
	essa(SET_UNUSED, page(BAD + 1));
	noticed("read", page(BAD + 1));
	noticed("write", page(BAD + 1));
	request();
	essa(SET_STABLE, page(BAD + 1));
}

static void a_device_writes_to_a_block_that_is_paged_out(void)
{
	u64 limit = tod_ms() + 5000;

	enter(Sr, page(BAD));
	say("@@discard evict\n");
	while (essa(GET, page(BAD)) != Sp)
		if (tod_ms() > limit) {
			equal("paged out within 5 s", 0, 1);
			return;
		}
	noticed("resident", page(BAD));
	device_writes(page(BAD) + 256);
	equal("state", essa(GET, page(BAD)), Sr);
	equal("written", filled((void *)(page(BAD) + 256), 0x5a, LEN), 0);
	equal("kept", filled(pages[BAD], 0x5a, 256), 1);
	equal("kept", filled((void *)(page(BAD) + 256 + LEN), 0x5a, PAGE - 256 - LEN), 1);
}

void test_device(void)
{
	TEST(DEVICE, a_device_writes_to_a_stable_block);
	TEST(DEVICE, a_device_makes_the_block_resident_that_it_writes_to);
	TEST(DEVICE, a_device_writes_to_a_block_that_is_paged_out);
	TEST(DEVICE, a_device_writes_to_a_block_that_is_not_its_own);
	TEST(DEVICE, the_second_page_of_a_buffer_is_not_its_own);
	TEST(DEVICE, the_device_reads_descriptors_that_are_unused);
	TEST(DEVICE, the_device_writes_a_used_ring_that_is_unused);
	TEST(DEVICE, the_device_sets_indicators_that_are_unused);
}
