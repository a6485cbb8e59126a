/* SPDX-License-Identifier: GPL-2.0 */
/*
 * make_stable against make_volatile, for one folio of the page cache.
 *
 * Question: can the host discard a page while somebody who was told "stable"
 * still touches its content, or after somebody changed it?  ./run builds this
 * file once per configuration and compares spin's verdict with the expected one.
 *
 * Machine.  z/Architecture lets only a later load pass an earlier store.  Every
 * CPU has a FIFO of stores that the others do not see yet; a load looks at
 * memory at once.  Updates whose result nobody needs (reference and map counts,
 * page flags, ESSA "set volatile") go through the FIFO: plain interlocked
 * updates are taken as *not* serializing, and so is taking a lock bit, whose
 * winner is decided at once but whose bit plain loads may see later.  That is
 * weaker than the hardware.  Only mb() waits for the FIFO.  A CPU that never
 * loads needs no FIFO: its stores are seen in order, at any time, anyway.
 *
 * Configurations (cpp -D):
 *   WITH_MAPPER, WITH_WRITE_FAULT, WITH_MAP_AROUND   who takes part besides
 *                   make_volatile, a user of the content and the host
 *   FLAG_FIRST      make_volatile sets the flag VOLATILE before the count check
 *                   and takes it back when the check fails (else: after it)
 *   TEST_FLAG_ONLY  make_stable's fast path tests VOLATILE only
 *                   (else: VOLATILE or the bit lock)
 *   NO_MB_LOCK      no barrier between lock bit (or flag) and counts
 *   NO_MB_FLAGS     no barrier between counts and page flags.  Hardware keeps
 *                   loads in order; without a barrier the compiler need not.
 *   NO_MB_STABLE    no barrier between reference and flag test in make_stable
 *   REF_THEN_MAP, MAP_THEN_REF   counts read by two loads, in that order
 *   NO_PG_LOCKED    make_volatile does not look at PG_locked
 *   CLEAR_GONE      make_stable clears VOLATILE even when the content is gone
 *   TOUCH_LATER     map_around goes on using its look-up reference for the
 *                   content after the folio lock is dropped
 *   LARGE           the folio is large: make_volatile has the folio lock and i_mmap_rwsem,
 *                   and loads the refcount, then the mapcount.  With it:
 *   WITH_FAULT, WITH_FORK   who maps such a folio
 *   WITH_MLOCK      who locks a part of a folio that is mapped
 *   NO_FAULT_LOCK   a page fault maps it without the folio lock
 *   NO_I_MMAP       make_volatile does not have i_mmap_rwsem
 *   NO_FORK_TEST    make_volatile does not look if a VMA's mmap_lock is taken
 *   NO_MB_FORK      no barrier between that and the counts
 *   NO_MLOCK_WAIT   mlock() does not wait for i_mmap_rwsem after it has set VM_LOCKED
 *   REACH_*         not a rule: the named state must be reachable
 */

mtype = { REF_INC, REF_DEC, MAP_INC, MAP_DEC, SHOW_BITLOCK, DROP_BITLOCK,
	  SET_VOLATILE, CLEAR_VOLATILE, SHOW_PG_LOCKED, DROP_PG_LOCKED,
	  SET_DIRTY, WRITE, ESSA_V, DROP_MMAP_LOCK, SET_VM_LOCKED, CLEAR_VM_LOCKED };

#define DEPTH	4		/* stores in flight per CPU */
chan fifo[4] = [DEPTH] of { mtype };

/* The combined word: one load may read both. */
#if defined(WITH_FORK) || defined(WITH_MLOCK)
byte refcount = 2;		/* the page cache's, and that of a mapping that stays */
byte mapcount = 1;
#else
byte refcount = 1;
byte mapcount = 0;
#endif

/* folio->flags as plain loads see it: one word, one load. */
bit f_volatile, f_bitlock, f_locked, f_dirty;

/* Who holds a lock, as interlocked updates see it. */
bit bitlock, pg_locked;

/* Of a large folio: of fork(), a VMA of the child; of mlock() */
bit i_mmap, mmap_lock, child_vma, vm_locked;

/* What the host knows. */
bit page_v;			/* usage is V, else S */
bit page_gone;			/* Vz */
bit page_written;		/* content differs from the disk */

#define put(op)		fifo[me]!op
#define mb()		(empty(fifo[me]))

#ifdef TEST_FLAG_ONLY
#define FAST		(!f_volatile)
#else
#define FAST		(!f_volatile && !f_bitlock)
#endif

#ifdef CLEAR_GONE
#define KEEP_FLAG	false
#else
#define KEEP_FLAG	(!ok)
#endif

/* Somebody who was told "stable" looks at the content. */
#define touch()		assert(!page_gone)

/* The winner is known at once, the bit may show later. */
inline bit_lock() { atomic { !bitlock -> bitlock = 1; put(SHOW_BITLOCK) } }
inline folio_lock() { atomic { !pg_locked -> pg_locked = 1; put(SHOW_PG_LOCKED) } }

/*
 * Caller has put(REF_INC).  ok = 0: the content is gone, drop the folio.
 * ESSA 6 delivers a result, so it happens at once; own stores to the same
 * state cannot be pending: the lock was released behind them.
 */
inline make_stable(ok)
{
#ifndef NO_MB_STABLE
	mb();
#endif
	if
	:: FAST -> ok = 1
	:: else ->
		bit_lock();
		if
		:: !f_volatile -> ok = 1
		:: else ->
			atomic { ok = !page_gone; page_v = page_gone };
#ifdef REACH_GONE
			assert(ok);
#endif
#ifdef REACH_RESCUE
			assert(!ok);
#endif
			if
			:: KEEP_FLAG -> skip
			:: else -> put(CLEAR_VOLATILE)
			fi
		fi;
		put(DROP_BITLOCK)
	fi
}

/* Memory: any CPU's oldest store becomes visible at any time. */
active proctype memory()
{
	mtype op;

end:	do
	:: atomic {
		if
		:: fifo[0]?op
		:: fifo[1]?op
		:: fifo[2]?op
		:: fifo[3]?op
		fi;
		if
		:: op == REF_INC -> refcount++
		:: op == REF_DEC -> refcount--
		:: op == MAP_INC -> mapcount++
		:: op == MAP_DEC -> mapcount--
		:: op == SHOW_BITLOCK -> f_bitlock = 1
		:: op == DROP_BITLOCK -> f_bitlock = 0; bitlock = 0
		:: op == SET_VOLATILE -> f_volatile = 1
		:: op == CLEAR_VOLATILE -> f_volatile = 0
		:: op == SHOW_PG_LOCKED -> f_locked = 1
		:: op == DROP_PG_LOCKED -> f_locked = 0; pg_locked = 0
		:: op == SET_DIRTY -> f_dirty = 1
		:: op == WRITE -> assert(!page_gone); page_written = 1
		:: op == ESSA_V -> page_v = 1
		:: op == DROP_MMAP_LOCK -> mmap_lock = 0
		:: op == SET_VM_LOCKED -> vm_locked = 1
		:: op == CLEAR_VM_LOCKED -> vm_locked = 0
		fi;
		op = 0
	   }
	od
}

/* The host: takes a volatile page whenever it likes, without writing it. */
active proctype host()
{
end:	atomic {
		page_v ->
		assert(!page_written);
		page_gone = 1;
#ifdef REACH_DISCARD
		assert(false)
#endif
	}
}

/* What make_volatile looks at. */
#if defined(REF_THEN_MAP) || (defined(LARGE) && !defined(MAP_THEN_REF))
#define load_counts()	refs = refcount; maps = mapcount
#elif defined(MAP_THEN_REF)
#define load_counts()	maps = mapcount; refs = refcount
#else
#define load_counts()	d_step { refs = refcount; maps = mapcount }
#endif

#if defined(NO_PG_LOCKED) || defined(LARGE)	/* or its own */
#define load_flags()	busy = f_dirty
#else
#define load_flags()	busy = f_dirty || f_locked
#endif

#ifdef NO_I_MMAP
#define HOLD_I_MMAP	0
#else
#define HOLD_I_MMAP	1
#endif
#ifdef NO_FORK_TEST
#define look_at_vmas()	kept = 0
#else
#define look_at_vmas()	kept = vm_locked || (child_vma && mmap_lock)
#endif

/* CPU 0: make_volatile, again and again. */
active proctype volatiler()
{
	byte me = 0;
	byte refs, maps;
	bit busy, kept;

end:	do
#ifdef LARGE
	:: atomic {	/* who else may add a mapping has to wait, or is seen */
			!pg_locked ->
			pg_locked = 1;
			put(SHOW_PG_LOCKED);
			i_mmap = HOLD_I_MMAP
		};
#ifndef NO_MB_FORK
		look_at_vmas();
#endif
		if
		:: atomic { !bitlock && !f_volatile -> bitlock = 1; put(SHOW_BITLOCK) }
		:: atomic { bitlock || f_volatile -> put(DROP_PG_LOCKED); i_mmap = 0; kept = 0 };
			goto end
		fi;
#else
	:: atomic {	/* trylock, and nothing to do if already volatile */
			!bitlock && !f_volatile ->
			bitlock = 1;
			put(SHOW_BITLOCK)
		};
#endif
#ifdef FLAG_FIRST
		put(SET_VOLATILE);
#endif
#ifndef NO_MB_LOCK
		mb();
#endif
#ifdef NO_MB_FLAGS
		if
		:: load_counts(); load_flags()
		:: load_flags(); load_counts()
		fi;
#else
		load_counts();
		load_flags();
#endif
#ifdef NO_MB_FORK
		look_at_vmas();
#endif
		if
		:: refs == maps + 1 && !busy && !kept ->
#ifndef FLAG_FIRST
			put(SET_VOLATILE);
#endif
			put(ESSA_V)
		:: else ->
#ifdef FLAG_FIRST
			put(CLEAR_VOLATILE);
#endif
			skip
		fi;
		atomic { put(DROP_BITLOCK); refs = 0; maps = 0; busy = 0; kept = 0 }
#ifdef LARGE
		;
		atomic { put(DROP_PG_LOCKED); i_mmap = 0 }
#endif
	od
}

/* CPU 1: looks the folio up and uses the content: read, or write under the folio lock. */
active proctype user()
{
	byte me = 1;
	bit ok;

end:	do
	:: put(REF_INC);
		make_stable(ok);
		if
		:: ok ->
			if
			:: touch()
			:: folio_lock();
				put(WRITE);
				put(SET_DIRTY);
				put(DROP_PG_LOCKED)
			fi
		:: else
		fi;
		atomic { put(REF_DEC); ok = 0 }
	od
}

#ifdef WITH_MAPPER
/* Maps (reference first) and unmaps (reference last); touches nothing, never loads. */
active proctype mapper()
{
end:	do
	:: refcount++;
		mapcount++;
		mapcount--;
		refcount--
	od
}
#endif

#ifdef WITH_WRITE_FAULT
/*
 * CPU 2: a shared write fault.  The look-up reference becomes the mapping's,
 * another thread stores through the new entry before the fault marks the folio
 * dirty: only the folio lock keeps it from turning volatile in between.
 */
active proctype write_fault()
{
	byte me = 2;
	bit ok;

	put(REF_INC);
	make_stable(ok);
	if
	:: ok ->
		folio_lock();
		put(MAP_INC);
		atomic {	/* a discard fault, which user space may meet, or: */
			if
			:: page_gone
			:: else -> page_written = 1
			fi
		}
		put(SET_DIRTY);
		put(DROP_PG_LOCKED);
		put(MAP_DEC)
	:: else
	fi;
	put(REF_DEC)
}
#endif

#ifdef WITH_MAP_AROUND
/*
 * CPU 3: filemap_map_pages.  The mapping is counted before its reference, under
 * the folio lock and with a look-up reference on top.
 */
active proctype map_around()
{
	byte me = 3;
	bit ok;

end:	do
	:: put(REF_INC);
#ifdef TOUCH_LATER
		make_stable(ok);
#endif
		folio_lock();
		put(MAP_INC);
		put(REF_INC);
		put(DROP_PG_LOCKED);
#ifdef TOUCH_LATER
		if
		:: ok -> touch()
		:: else
		fi;
		ok = 0;
#endif
		put(REF_DEC);
		put(MAP_DEC);
		put(REF_DEC)
	od
}
#endif

#ifdef WITH_FAULT
/*
 * A page fault maps a large folio under the folio lock, the mapping or its reference
 * first, and unmaps it at any time.  It touches nothing, and never loads.
 */
active proctype fault()
{
end:	do
	:: refcount++;		/* the look-up's */
#ifndef NO_FAULT_LOCK
		atomic { !pg_locked -> pg_locked = 1; f_locked = 1 };
#endif
		if
		:: refcount++;
			mapcount++
		:: mapcount++;
			refcount++
		fi;
#ifndef NO_FAULT_LOCK
		atomic { pg_locked = 0; f_locked = 0 };
#endif
		refcount--;
		mapcount--;
		refcount--
	od
}
#endif

#ifdef WITH_FORK
/*
 * CPU 2: fork() maps what another mapping holds, without the folio lock: the child's VMA
 * gets into i_mmap, then the page tables are copied, all under mmap_lock.  Then it exits.
 */
active proctype fork()
{
	byte me = 2;

end:	do
	:: mmap_lock = 1;
		atomic { !i_mmap -> child_vma = 1 };
		put(REF_INC);
		put(MAP_INC);
		put(DROP_MMAP_LOCK);
		atomic { mb() && !mmap_lock -> skip };
		put(MAP_DEC);
		put(REF_DEC);
		atomic { mb() && !i_mmap -> child_vma = 0 }
	od
}
#endif

#ifdef WITH_MLOCK
/*
 * CPU 3: mlock() of a part of a folio.  It has no reference but that of the mapping, and what
 * is not gone then must stay until it is unlocked.
 */
active proctype locker()
{
	byte me = 3;
	bit ok;

end:	do
	:: put(SET_VM_LOCKED);
#ifndef NO_MLOCK_WAIT
		atomic { mb() && !i_mmap -> skip };
#endif
		make_stable(ok);
		if
		:: ok -> touch()
		:: else
		fi;
		atomic { put(CLEAR_VM_LOCKED); ok = 0 };
		mb()
	od
}
#endif
