# SPDX-License-Identifier: GPL-2.0
#
# Each script knows by itself what is up to date, continues what was interrupted, and is
# quiet unless V=1.  Logs: build/logs.

export LINUX_SRC QEMU_SRC LINUX_VERSION LINUX_URL LINUX_SHA256
export QEMU_VERSION QEMU_URL QEMU_SHA256 V
export LINUX_SERIES QEMU_SERIES MINIMAL

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Where a target has no other place to say so: 'make help' prints the text after ##.
.PHONY: help
help: ## list the targets
	@echo "make TARGET [LINUX_SRC=tree] [QEMU_SRC=tree] [LINUX_VERSION=6.12.N] [V=1]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

.PHONY: run check
run: build ## the main job: boot, fill the page cache, discard it, show that nothing is lost; draw it
	@tests/story
check: install ## all tests, each with its time; ends with 'N passed, N failed, N skipped'
	@tests/check

.PHONY: install fetch linux qemu initramfs image build
install: ## install the Debian packages that are missing
	@scripts/install
fetch: install ## fetch the pinned sources and the guest's tools
	@scripts/fetch linux
	@scripts/fetch qemu
	@scripts/fetch tools
linux: install ## build the patched kernel: build/out/bzImage and vmlinux
	@scripts/compose linux
	@scripts/kernel main base hva
qemu: install ## build the patched QEMU: build/out/qemu-system-s390x; MINIMAL=1: only what tests need
	@scripts/fetch tools
	@scripts/compose qemu
	@scripts/qemu
initramfs: install ## build the guest's first file system
	@scripts/fetch tools
	@scripts/initramfs
image: initramfs linux ## build the disk image with a part of the Linux tree
	@scripts/image
build: qemu linux initramfs image ## everything that a guest needs
.PHONY: rootfs
rootfs: initramfs ## disks with a Debian, as benches and check-programs use: FS="ext4 xfs btrfs programs"
	@scripts/compose linux
	@scripts/install rootfs
	@scripts/rootfs $(or $(FS),ext4 programs)

.PHONY: run-kvm check-kvm kvm
run-kvm: kvm ## the same under KVM: a guest of Linux in the emulator Hercules; KVM discards
	@tests/kvm-story
check-kvm: kvm ## tests of KVM as the host that discards, and of the machine
	@tests/check-kvm
kvm: install initramfs ## what these need: Hercules, a host kernel, QEMU for s390x, a guest
	@scripts/compose hercules
	@scripts/hercules
	@scripts/compose linux
	@scripts/kernel z10 base hva z10 kunit
	@scripts/compose kvm
	@scripts/kernel kvm base z10 kvm
	@scripts/compose qemu
	@scripts/qemu-kvm
	@scripts/kvm-image

.PHONY: bench bench-quick bench-reclaim bench-overcommit bench-faults bench-scale
bench: build ## all benches; each alone as make bench-NAME. Results: build/results/bench-*.json
	@scripts/compose linux
	@tests/bench
bench-quick: build ## less of each; bench-cost builds two more kernels the first time
	@scripts/compose linux
	@tests/bench --quick
bench-reclaim: build ## 512 MiB of a guest: a discard, a balloon, free page reporting, swap
	@tests/bench-reclaim
bench-overcommit: build ## memory for half of some Debian guests: swap, balloons, ours
	@scripts/compose linux
	@tests/bench-overcommit
bench-faults: build ## what a guest pays for what was taken: faults, reads, grep
	@tests/bench-faults
bench-scale: build ## what grows with memory and vCPUs, in guest and host
	@tests/bench host-scale scale

.PHONY: check-host bench-host bench-stock bench-p bench-cost bench-reach bench-idle check-qtest check-controls check-fs check-debug check-kselftest check-selftests check-newest check-migration check-cgroup2 check-libvirt check-programs
check-host: qemu ## put one defect at a time into QEMU; the tests must notice each
	@tests/check-host
bench-host: qemu ## what it costs the host to take blocks: ratios, and times of this machine
	@tests/bench-host
bench-stock: qemu initramfs image ## what the device costs that does nothing, against QEMU without the series
	@tests/bench-stock
bench-p: build ## what potentially volatile pages cost, and what they bring
	@tests/bench-p
bench-cost: qemu initramfs ## what hot paths cost in Linux with and without the series
	@scripts/compose linux
	@tests/bench-cost
bench-reach: build ## how much of a guest's clean file cache is volatile, in a Debian as well
	@tests/bench-reach
bench-idle: build ## how many idle Debians fit into 4 GiB, none of them swapped
	@tests/bench-idle
check-controls: install ## switch off each make_stable hook; a test must notice each
	@tests/check-controls
check-fs: install ## the stress on all file systems, under every policy
	@tests/check-fs
check-debug: install ## the stress on kernels with KASAN, KCSAN and lock checks, under every policy
	@tests/check-debug
check-kselftest: install ## the selftests of the series, and the kernel's KUnit tool, on every host
	@tests/check-kselftest
check-selftests: install ## the kernel's own selftests of memory and files: none is worse with the series
	@tests/check-selftests
check-programs: install ## PostgreSQL, git, fio and more in a Debian whose page cache is taken: as in a plain boot
	@tests/check-programs
check-newest: build ## Linux 7.2 and QEMU 10.2 with their series: stress, KUnit, bare metal, qtest
	@tests/check-newest
check-migration: build ## a guest under stress moves, is saved and loaded, while the host takes pages
	@tests/check-migration
check-cgroup2: build ## the policy pressure in cgroups of version 2: an emulated machine with systemd
	@scripts/install cgroup2
	@scripts/cgroup2
	@tests/check-cgroup2
check-libvirt: build ## a guest that libvirt manages: saved, dumped, moved, reset, in a storm of discards
	@scripts/install libvirt
	@tests/check-libvirt
check-qtest: qemu ## run QEMU's own tests of s390x, with and without our patches
	@tests/check-qtest

.PHONY: check-randconfig check-compilers
check-randconfig: build ## N random configurations (10) build without a warning and boot; SEED=
	@tests/check-configs random $(or $(N),10) $(SEED)
check-compilers: build ## the same with the compilers of Debian 13; and make htmldocs
	@tests/check-configs compilers documentation
.PHONY: check-fresh
check-fresh: install ## make run and make check in bare Debians 12 and 13, by a user who is not root
	@tests/check-fresh
.PHONY: fuzz-guest fuzz-host soak
fuzz-guest: install ## random operations on files: SECONDS=60 of each guest, SEED=, FS=ext4|xfs|btrfs
	@tests/fuzz-guest $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(FS),--fs $(FS))
fuzz-host: install ## hostile guests on a QEMU with sanitizers, SECONDS=60 of all, SEED= of the first
	@scripts/fetch qemu
	@scripts/fetch tools
	@scripts/compose qemu
	@tests/fuzz-host $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))
soak: install ## all that can be repeated with new seeds, for HOURS=1; Ctrl-C ends it with a summary
	@tests/soak $(if $(HOURS),--hours $(HOURS))

.PHONY: series check-series dev-linux dev-qemu export
series: install ## write the git-am-able series to build/series
	@scripts/compose linux
	@scripts/compose qemu
	@scripts/series linux
	@scripts/series qemu
check-series: series build ## build, boot and stress after each patch: all, or PATCHES=FIRST-LAST of Linux
	@scripts/check-series linux $(PATCHES)
	@[ -n "$(PATCHES)" ] || scripts/check-series qemu
dev-linux: install ## a git tree with one commit for each patch: build/dev/linux
	@scripts/compose linux
	@scripts/dev-tree linux
dev-qemu: install ## the same for QEMU: build/dev/qemu
	@scripts/compose qemu
	@scripts/dev-tree qemu
export: ## bring build/dev/* back to patches and new files
	@scripts/export

.PHONY: clean distclean
clean: ## remove what was built; archives and the compiler cache stay
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name dl ! -name ccache ! -name apt \
		! -name tools -exec rm -rf {} +
distclean: ## remove everything that was made
	rm -rf build
