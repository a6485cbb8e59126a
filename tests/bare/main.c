// SPDX-License-Identifier: GPL-2.0
/* What QEMU boots: all tests of a mode. */

#include "bare.h"

int mode;

/* The command line is the name of the mode. */

extern const char command_line[];

static const struct { const char *name; int bit; } modes[] = {
	{ "plain", PLAIN },
	{ "always", ALWAYS },
	{ "absent", ABSENT },
	{ "nodat-absent", NODAT_ABSENT },
	{ "strict", STRICT },
	{ "strict-all", STRICT_ALL },
	{ "reset", RESET },
	{ "random", RANDOM },
	{ "device", DEVICE },
	{ "poison", ALWAYS | POISON },
	{ "guest-discard", GUEST_DISCARD },
	{ "preserved", PRESERVED },
	{ "first-key", FIRST_KEY },
	{ "kvm", KVM },
	{ "kvm-reset", KVM | RESET },
	{ "real-kvm", REAL_KVM },
	{ "kvm-migrates", KVM_MIGRATES },
	{ "bench", BENCH },
	{ "bench-quick", BENCH | BENCH_QUICK },
	{ "bench-scale", BENCH | BENCH_SCALE },
};

static bool is(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

void main(void)
{
	int bad;

	lowcore_init(lowcore());
	for (u64 i = 0; i < ARRAY_SIZE(modes); i++)
		if (is(command_line, modes[i].name))
			mode = modes[i].bit;
	if (!mode)
		say("Bail out! unknown mode on the command line: %s\n", command_line);
	if (mode & BENCH) {
		bench();
		load_psw(DISABLED_WAIT, 0xfff);
	}
	if (mode & DEVICE) {
		test_device();
	} else if (mode & FIRST_KEY) {
		test_first_key();
	} else if (mode & RESET) {
		test_reset();
	} else {
		if (!(mode & (ALWAYS | ON_KVM)))
			test_keys();
		test_exceptions();
	}
	if (mode & ABSENT) {
		dat_init();
		test_upstream();
	} else if (!(mode & (RESET | DEVICE | FIRST_KEY))) {
		dat_init();
		test_states();
		test_access();
		test_prefix();
		test_host();
		test_cpus();
		/* Earlier, all of the above would run with storage keys in use. */
		if (mode & ALWAYS)
			test_keys();
		test_edat();
		test_discard();
		test_preserved();
		test_kvm();
	}
	bad = test_totals();
	/* 0xfff asks QEMU to shut down; anything else is a panic. */
	load_psw(DISABLED_WAIT, bad ? 0xbad : 0xfff);
}
