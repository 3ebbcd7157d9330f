/* commit.pml - a SPIN model of esdb's commit protocol, small enough to be searched completely.
 *
 * What is modelled
 *   Appenders (libcore/append.c), the sync leader and those who wait for it (libcore/commit.c), rebuilding
 *   `head` (libcore/shared_head.c, libcore/recover.c), roll-over (libcore/roll.c), readers with and without
 *   write permission (libcore/cursor.c), repair, and an environment that does what a machine may do to
 *   them. The functions are the inlines below; they carry the names of the functions in libcore.
 *
 *   A slot is a frame's place in the log: frame i is in slot i. Slots 1..R are segment 0, the rest is
 *   segment 1; the frame in slot R carries the roll-over flag. A slot has bytes in the page cache and bytes
 *   on disk: 0 is zeros, GARBAGE a partial or damaged frame, anything else a whole frame. Every attempt to
 *   write gets a frame id of its own; frame_prev[] is the chained checksum, frame_synced[] the synced_index
 *   that stands in the frame. The store is a standalone one: `committed` is `synced`.
 *
 * What can happen
 *   kill -9 between any two steps; background write-back; a failed write-back (the page becomes clean, ONE
 *   later fdatasync of that file reports it) and eviction of such a page; power loss (every dirty slot is
 *   old, new or torn; a segment whose directory entry was not synced may vanish; head comes back as it was,
 *   older, or zero); a full disk half-way through a frame; rot of a slot; head zeroed, or an old copy put
 *   over it, while in use; esdb-verify --repair. A waiter's time-out is "the sync lock is free again".
 *
 * What is left out: bytes within a frame, several streams, replication, clocks, more than two segments,
 *   event ids (an idempotent receipt takes the way of a conflict: it is answered once durable), failures
 *   while a segment is created (they end the append before anything of it is written).
 *
 * What must hold (the assertions name them)
 *   I1  acknowledged is durable: the frame and all before it are on disk, and are never cut or overwritten
 *   I2  shown is durable: the same for whatever a reader was shown
 *   I3  one history: what two observers were told about a slot is the same, for ever
 *   I4  one winner: a slot is acknowledged to the writer whose frame it holds; others get a conflict, and
 *       only once the frame they conflict with is durable
 *   I5  damage: CORRUPT is said only when something rotted, and rot is never taken for a torn write
 *   I6  poison: never without a cause
 *   I7  nobody is stuck: whoever is killed, the others can go on (else SPIN says "invalid end state"), and a
 *       leader that succeeded has covered its own frame
 *
 * The rules. Each can be left out (OLD_: its first wording, or none) or broken (BUG_: a planted mistake);
 * tests/model/run proves that every one of them is then found. Without the rule:
 *   OLD_ADOPT          a dead writer's whole frame is zeroed, and comes back when the zeros are evicted
 *   OLD_TAIL           a frame is chained to a tail that went bad after EIO, and can never be read
 *   OLD_GEN            a waiter outlives a rebuild that gave its slot to another frame, and acknowledges that
 *   OLD_VERIFY         a page lost to EIO is written back as the garbage it has become
 *   OLD_REWRITE        a rebuild believes a page cache that the disk has lost, and its sync reports nothing
 *   OLD_REBUILDLOCK    a rebuild without the sync lock meets a leader that publishes what was cut
 *   OLD_REBUILDPOISON  a rebuild that found a bad frame and poisoned goes on and publishes `synced`
 *   OLD_ROLL           a sync at roll-over without sync lock and mark swallows the error and dies with it
 *   OLD_PREV           frames after a bad one prove nothing, as their chain value is not in them
 *   OLD_READER         a scanning reader shows frames that were written while it scanned
 *   OLD_READERZERO     a reader takes a zeroed head for one of another boot, and shows what is not yet synced
 *   BUG_NOCHAIN        stale frames beyond a cut are taken for new ones
 *   BUG_NOBOOT         a head from before the power loss is believed
 *   BUG_NOMARK         a leader dies between fdatasync and telling; the next sync returns 0, data lost
 *   BUG_NOREWRITE      the mark is seen but nothing is written back: the same loss
 *   BUG_INPLACE        the frame is checked in the page cache, evicted, and what is then there is written
 *   BUG_EARLY          `synced` is published before fdatasync returned
 *   BUG_LATEAPP        the leader reads `appended` after fdatasync: frames it did not sync are published
 *   BUG_RETRY          fdatasync is tried again after EIO and returns 0
 *   BUG_OWNSEG         the leader syncs the segment of its own frame, not of the newest one
 *   BUG_REBUILDNOSYNC  a rebuild publishes `synced` without fdatasync
 *   BUG_CONFLICT       a conflict is answered while the winning frame can still be lost
 *   BUG_ROLLNOSYNC     a new segment is begun while the old one is not durable
 *   BUG_NODIR          the new segment's directory entry is not synced
 *   BUG_NODIRAGAIN     a segment found in the directory is taken for durable; its maker died before the sync
 *   BUG_NOBOUND        waiting without a bound: a dead leader leaves its waiters stuck
 *   BUG_READERREBUILD  a reader rebuilds head without any lock, check or sync
 *   BUG_READERNOLOCK   a reader with write permission rebuilds without the append lock
 *
 * Sizes:  N slots, F frames ever tried, NP appenders, R slots in segment 0 (R=N: no roll-over), READS passes
 *         of the reader, READERWRITES=1: the reader has write permission
 * Faults: KILLS POWER EIO WB (background write-backs) ROT HEADZERO HEADOLD REPAIR: how many of each
 *
 * Run: tests/model/run; how to read a trace: tests/model/README.md
 */

/* ---- sizes and faults ------------------------------------------------------------------------------- */
#ifndef N
#define N 2
#endif
#ifndef R
#define R N
#endif
#ifndef F
#define F 3
#endif
#ifndef NP
#define NP 2
#endif
#ifndef READS
#define READS 1
#endif
#ifndef READERWRITES
#define READERWRITES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef POWER
#define POWER 0
#endif
#ifndef EIO
#define EIO 0
#endif
#ifndef WB
#define WB 0
#endif
#ifndef ROT
#define ROT 0
#endif
#ifndef HEADZERO
#define HEADZERO 0
#endif
#ifndef HEADOLD
#define HEADOLD 0
#endif
#ifndef REPAIR
#define REPAIR 0
#endif

/* ---- the store -------------------------------------------------------------------------------------- */
#define GARBAGE 15 /* a slot that holds no whole frame */
#define INVALID 14 /* a word of head whose own check fails */
#define READER (NP + 1)
#define PROCESSES (NP + READERWRITES) /* who can be killed one by one */

byte cache[N + 2], disk[N + 2]; /* what the slots hold; slot 0 and N+1 stay zero */
bit dirty[N + 2];
bit file_error[2];               /* EIO not yet reported, for each segment */
bit seg1_exists, seg1_durable;   /* segment 1: in the directory; its entry synced */
bit poison_file;                 /* survives power loss, unlike head_poison */
byte frame_prev[F + 1], frame_synced[F + 1], next_frame = 1;

byte boot = 1;
byte head_boot = 1, head_appended, head_synced, head_mark, head_generation, head_wake;
bit head_poison;

byte append_lock, sync_lock; /* the owner; the kernel frees them at its death */

bit busy[NP + 2], kill[NP + 2];
byte kills = KILLS, powers = POWER, eios = EIO, writebacks = WB, rots = ROT;
byte zeros = HEADZERO, olds = HEADOLD, repairs = REPAIR, reads = READS;

/* ghosts: for the assertions, not seen by the protocol */
byte acked[N + 2], shown[N + 2]; /* the frame that was promised to be in this slot */
bit said_corrupt, rotted;
byte generations; /* stands for "random": a generation never comes twice */

#define SEGMENT(s) ((s) > R)
#define WHOLE(x) ((x) != 0 && (x) != GARBAGE)
#define POISONED (head_poison || poison_file)

#ifdef BUG_NOCHAIN
#define FOLLOWS(x, before) WHOLE(x)
#else
#define FOLLOWS(x, before) (WHOLE(x) && frame_prev[x] == (before))
#endif
#define CHAINED(s) FOLLOWS(cache[s], cache[(s) - 1])

#ifdef OLD_PREV
#define READABLE(s) (CHAINED(s) && WHOLE(cache[(s) - 1]))
#else
#define READABLE(s) WHOLE(cache[s])
#endif

#define WORDS_VALID (head_appended != INVALID && head_synced != INVALID && head_mark != INVALID)
#ifdef BUG_NOBOOT
#define HEAD_VALID WORDS_VALID
#else
#define HEAD_VALID (head_boot == boot && WORDS_VALID)
#endif

/* rot hits only what a later frame proves to have been synced; for the rest there is no remedy (DESIGN.md) */
#define CAN_ROT(s) (WHOLE(disk[(s) + 1]) && !dirty[(s) + 1] && frame_synced[disk[(s) + 1]] >= (s))

/* ---- what is promised ------------------------------------------------------------------------------- */

/* I1 I2 I4: slots 1..s are on disk as one chain, and slot s holds frame f. */
inline assert_durable(s, f) {
    d_step {
        ok = disk[s] == f && (!SEGMENT(s) || seg1_durable);
        j = 1;
        do
        :: j <= s ->
            ok = ok && WHOLE(disk[j]) && frame_prev[disk[j]] == disk[j - 1];
            j++
        :: else -> break
        od;
        j = 0;
        assert(ok || rotted)
    }
}

/* I3: from now on slots 1..s are known to somebody; they must be what was promised before. */
inline promise(ghost_j, s) {
    d_step {
        j = 1;
        do
        :: j <= s ->
            assert(rotted || !acked[j] || acked[j] == disk[j]);
            assert(rotted || !shown[j] || shown[j] == disk[j]);
            ghost_j = disk[j];
            j++
        :: else -> break
        od;
        j = 0
    }
}

/* ---- system calls ----------------------------------------------------------------------------------- */

inline os_pwrite(s, x) {
    d_step {
        assert(!acked[s] || acked[s] == x); /* I1: what was promised is only ever written as it is */
        assert(!shown[s] || shown[s] == x); /* I2 */
        cache[s] = x;
        dirty[s] = 1
    }
}

/* Sets ok. The error is reported once, to whoever comes first; the pages it is about are clean already. */
inline os_fdatasync(segment) {
    d_step {
        ok = !file_error[segment];
        file_error[segment] = 0;
        j = 1;
        do
        :: j <= N ->
            if
            :: SEGMENT(j) == segment && dirty[j] ->
                disk[j] = cache[j];
                dirty[j] = 0
            :: else
            fi;
            j++
        :: else -> break
        od;
        j = 0
    }
}

/* ---- shared by all ---------------------------------------------------------------------------------- */

inline es_poison() {
    assert(eios < EIO || rotted); /* I6 */
    head_poison = 1;
    poison_file = 1
}

/* Read each frame of after+1..upto once into own memory, check that copy, write that copy. Sets ok; a frame
 * that does not chain poisons. */
inline es_rewrite(after, upto) {
    d_step {
        ok = 1;
        i = after + 1;
        last = (after <= N -> cache[after] : 0)
    };
    do
    :: i <= upto && i <= N ->
        x = cache[i];
#ifndef OLD_VERIFY
        if
        :: !FOLLOWS(x, last) ->
            es_poison();
            ok = 0;
            break
        :: else
        fi;
#endif
#ifdef BUG_INPLACE
        x = cache[i];
#endif
        os_pwrite(i, x);
        d_step {
            last = x;
            i++
        }
    :: else -> break
    od;
    atomic {
        i = 0;
        x = 0;
        last = 0
    }
}

/* Zero everything from slot s up to the first zeros: what a dead writer left, or what is cut. */
inline es_zero_rest(s) {
    i = s;
    do
    :: i <= N && cache[i] != 0 ->
        os_pwrite(i, 0);
        i++
    :: else -> break
    od;
    i = 0
}

/* Tell the waiters. Unlock first: they look at the word, then at the lock. */
inline es_unlock_sync() {
    sync_lock = 0;
    head_wake = (head_wake + 1) % 4
}

/* ---- libcore/head.c: rebuild ------------------------------------------------------------------------ */

/* e: the last frame of the chain. proof: the newest frame that something proves to have been synced. */
inline es_recover_scan() {
    d_step {
        e = 0;
        do
        :: e < N && CHAINED(e + 1) -> e++
        :: else -> break
        od;
        proof = 0;
        if
        :: head_boot != 0 && head_synced != INVALID -> proof = head_synced /* an intact head, of any boot */
        :: else
        fi;
        j = e + 2;
        do
        :: j <= N ->
            if
            :: READABLE(j) && frame_synced[cache[j]] > proof -> proof = frame_synced[cache[j]]
            :: else
            fi;
            j++
        :: else -> break
        od;
        j = 0
    }
}

/* Append lock held, head not valid. Until its last step head stays invalid, which serves as the mark: who
 * finds it so rebuilds again and rewrites again. */
inline es_rebuild() {
#ifndef OLD_REBUILDLOCK
    atomic { sync_lock == 0 -> sync_lock = p };
#endif
    es_recover_scan();
    if
    :: proof > e || (seg1_exists && e < R) ->
        atomic {
            assert(rotted); /* I5: no false alarm */
            said_corrupt = 1
        }
    :: else ->
        assert(!acked[e + 1] && !shown[e + 1]); /* I1 I2 I5: a promise is never cut */
        atomic {
            generations++;
            head_generation = generations /* before anything else: waiters must not trust their slots */
        };
        es_zero_rest(e + 1);
#ifdef OLD_REWRITE
        ok = 1;
#else
        es_rewrite(0, e);
#endif
#ifdef OLD_REBUILDPOISON
        ok = 1;
#endif
        if
        :: ok ->
            head_appended = e;
#ifndef BUG_REBUILDNOSYNC
            os_fdatasync(0);
            if
            :: ok && seg1_exists -> os_fdatasync(1)
            :: else
            fi;
#endif
            if
            :: ok ->
                head_synced = e;
                head_mark = 0;
                head_boot = boot
            :: else -> es_poison()
            fi
        :: else /* poisoned: nothing is published */
        fi
    fi;
#ifndef OLD_REBUILDLOCK
    es_unlock_sync()
#endif
}

/* ---- libcore/commit.c: become durable --------------------------------------------------------------- */

/* Sync lock held. Makes everything appended durable, publishes it and gives the lock back. */
inline es_lead() {
    if
    :: !HEAD_VALID || POISONED -> skip
    :: else ->
        ok = 1;
#ifndef BUG_NOREWRITE
        if
        :: head_mark == 1 -> /* its owner died before it told */
            d_step {
                from = head_synced;
                to = head_appended
            };
            es_rewrite(from, to)
        :: else
        fi;
#endif
        if
        :: !ok -> skip
        :: else ->
#ifndef BUG_NOMARK
            head_mark = 1;
#endif
            to = head_appended;
#ifdef BUG_EARLY
            head_synced = to;
#endif
#ifdef BUG_OWNSEG
            os_fdatasync(SEGMENT(target));
#else
            os_fdatasync(SEGMENT(to)); /* earlier segments were synced at roll-over */
#endif
#ifdef BUG_RETRY
            if
            :: !ok -> os_fdatasync(SEGMENT(to))
            :: else
            fi;
#endif
#ifdef BUG_LATEAPP
            to = head_appended;
#endif
            if
            :: !ok -> es_poison()
            :: ok && to != INVALID -> head_synced = to
            :: else
            fi;
            head_mark = 0
        fi
    fi;
    es_unlock_sync()
}

/* Wait until `synced` covers target, leading the group where nobody does. Then, and only then, answer. */
inline es_commit() {
    do
    :: if
       :: POISONED || said_corrupt -> goto done
       :: else
       fi;
       wake = head_wake;
       if
       :: !HEAD_VALID ->
           atomic { append_lock == 0 -> append_lock = p };
           if
           :: !HEAD_VALID -> es_rebuild()
           :: else
           fi;
           append_lock = 0
       :: HEAD_VALID && head_synced >= target ->
#ifndef OLD_GEN
           if
           :: head_generation != generation -> goto done /* outcome unknown, exit 10 */
           :: else
           fi;
#endif
           atomic {
               assert_durable(target, mine); /* I1 I4 */
               promise(acked[j], target);    /* I3 */
               goto done
           }
       :: else ->
#ifndef OLD_GEN
           if
           :: head_generation != generation && HEAD_VALID -> goto done
           :: else
           fi;
#endif
           if
           :: atomic { sync_lock == 0 -> sync_lock = p };
              if
              :: HEAD_VALID && head_synced >= target -> sync_lock = 0
              :: else ->
                  es_lead();
                  assert(!HEAD_VALID || POISONED || head_synced >= target || head_generation != generation ||
                         olds < HEADOLD) /* I7 */
              fi
           :: sync_lock != 0 ->
#ifdef BUG_NOBOUND
               (head_wake != wake)
#else
               (head_wake != wake || sync_lock == 0)
#endif
           fi
       fi
    od
}

/* ---- libcore/append.c ------------------------------------------------------------------------------- */

/* A whole, correctly chained frame beyond `appended` is a dead writer's: it counts. */
inline es_adopt() {
#ifndef OLD_ADOPT
    do
    :: target < N && CHAINED(target + 1) ->
        target++;
        head_appended = target
    :: else -> break
    od
#else
    skip
#endif
}

/* The last frame carries the roll-over flag: make the old segment durable, then the new one exist. */
inline es_roll() {
#ifndef BUG_ROLLNOSYNC
#ifdef OLD_ROLL
    os_fdatasync(0);
    if
    :: !ok ->
        es_poison();
        goto done
    :: else
    fi;
#else
    if
    :: HEAD_VALID && head_synced >= R -> skip
    :: else ->
        atomic { sync_lock == 0 -> sync_lock = p };
        es_lead();
        if
        :: !HEAD_VALID || POISONED || head_synced < R -> goto done
        :: else
        fi
    fi;
#endif
#endif
#ifdef BUG_NODIRAGAIN
    if
    :: seg1_exists -> skip
    :: else ->
        seg1_exists = 1;
        seg1_durable = 1
    fi
#else
    seg1_exists = 1; /* temporary file, fsync, rename: it is there, with zeros */
#ifndef BUG_NODIR
    seg1_durable = 1 /* fsync of the directory: also when a dead writer made the segment */
#else
    skip
#endif
#endif
}

/* Chain to the tail and write; half a frame is what a kill or a full disk leaves. */
inline es_write_frame() {
    d_step {
        x = cache[target - 1];
        frame_prev[f] = x;
        frame_synced[f] = (head_synced == INVALID -> 0 : head_synced)
    };
#ifndef OLD_TAIL
    if
    :: target > 1 && !WHOLE(x) ->
        es_poison();
        goto done
    :: else
    fi;
#endif
    x = 0;
    os_pwrite(target, GARBAGE);
    if
    :: goto done /* ENOSPC */
    :: skip
    fi;
    os_pwrite(target, f);
    mine = f;
    head_appended = target
}

/* Leaves target and mine: the slot, and the frame in it, whose durability the answer rests on. */
inline es_append() {
    atomic { append_lock == 0 -> append_lock = p };
    if
    :: !HEAD_VALID -> es_rebuild()
    :: else
    fi;
    if
    :: said_corrupt || POISONED || !HEAD_VALID -> goto done
    :: else
    fi;
    d_step {
        target = head_appended;
        generation = head_generation
    };
    if
    :: target >= N -> goto done /* the model's log is full, or head was zeroed this moment */
    :: else
    fi;
    es_adopt();
    if
    :: target >= N -> goto done
    :: else
    fi;
    if
    :: expect != 0 && expect != target + 1 -> /* a conflict: answered once durable, as in es_commit */
        if
        :: target == 0 -> goto done
        :: else
        fi;
        mine = cache[target];
#ifdef BUG_CONFLICT
        assert_durable(target, mine);
        goto done
#endif
    :: else ->
        target++;
        es_zero_rest(target);
        if
        :: target == R + 1 -> es_roll()
        :: else
        fi;
        es_write_frame()
    fi;
    append_lock = 0
}

/* ---- processes -------------------------------------------------------------------------------------- */

inline forget_appender() {
    f = 0;
    e = 0;
    i = 0;
    j = 0;
    x = 0;
    last = 0;
    proof = 0;
    target = 0;
    mine = 0;
    expect = 0;
    wake = 0;
    from = 0;
    to = 0;
    generation = 0;
    ok = 0
}

proctype Appender(byte p) {
    byte f;                        /* the frame being tried */
    byte expect;                   /* expected version, as a slot; 0: any */
    byte target, mine, generation; /* the slot, the frame in it, and the generation it was seen in */
    byte e, i, j, x, last, proof, wake, from, to;
    bit ok;
end:
    do
    :: {
           atomic {
               next_frame <= F && !said_corrupt && !POISONED && !kill[p] ->
               busy[p] = 1;
               f = next_frame;
               next_frame++
           };
           if
           :: expect = 0
           :: atomic { HEAD_VALID -> expect = head_appended + 1 }
           fi;
           es_append();
           es_commit();
done:
           atomic {
               if
               :: append_lock == p -> append_lock = 0
               :: else
               fi;
               busy[p] = 0;
               forget_appender()
           }
       } unless {
           d_step {
               kill[p] ->
               kill[p] = 0;
               busy[p] = 0;
               forget_appender()
           }
       }
    od
}

inline forget_reader() {
    v = 0;
    e = 0;
    i = 0;
    j = 0;
    x = 0;
    last = 0;
    proof = 0;
    ok = 0
}

/* Read-only: without head, walk the chain. Then look at head again; only if it is an intact one of another
 * boot is everything up to the tail from before that boot, and so durable. */
inline es_read_scan() {
    do
    :: e < N ->
        d_step {
            x = cache[e + 1];
            ok = FOLLOWS(x, last);
            if
            :: ok ->
                last = x;
                e++
            :: else
            fi;
            x = 0
        };
        if
        :: !ok -> break
        :: else
        fi
    :: else -> break
    od;
#ifdef OLD_READER
    v = e
#else
    atomic {
        if
        :: HEAD_VALID -> v = head_synced
#ifndef OLD_READERZERO
        :: !HEAD_VALID && head_boot == 0 -> v = (e > 0 -> frame_synced[last] : 0)
#endif
        :: else -> v = e
        fi
    }
#endif
}

proctype Reader() {
    byte v; /* shows slots 1..v */
    byte p = READER;
    byte e, i, j, x, last, proof;
    bit ok;
end:
    do
    :: {
           atomic {
               reads > 0 && !kill[p] ->
               reads--;
               busy[p] = 1
           };
           if
           :: HEAD_VALID -> v = head_synced
           :: else ->
#ifdef BUG_READERREBUILD
               es_recover_scan();
               d_step {
                   head_appended = e;
                   head_synced = e;
                   head_mark = 0;
                   head_generation = 0;
                   head_boot = boot;
                   v = e
               }
#else
               if
               :: READERWRITES && !POISONED && !said_corrupt ->
#ifndef BUG_READERNOLOCK
                   atomic { append_lock == 0 -> append_lock = p };
#endif
                   if
                   :: !HEAD_VALID && !POISONED && !said_corrupt -> es_rebuild()
                   :: else
                   fi;
#ifndef BUG_READERNOLOCK
                   append_lock = 0;
#endif
                   if
                   :: HEAD_VALID -> v = head_synced
                   :: else
                   fi
               :: !READERWRITES || POISONED || said_corrupt || append_lock != 0 ->
                   es_read_scan() /* may not write, or the lock is held too long: it never has to wait */
               fi
#endif
           fi;
           if
           :: v > 0 && v <= N && !said_corrupt ->
               atomic {
                   assert_durable(v, cache[v]); /* I2 */
                   promise(shown[j], v)         /* I3 */
               }
           :: else
           fi;
           d_step {
               busy[p] = 0;
               forget_reader()
           }
       } unless {
           d_step {
               kill[p] ->
               kill[p] = 0;
               busy[p] = 0;
               forget_reader()
           }
       }
    od
}

/* ---- the environment -------------------------------------------------------------------------------- */

inline zero_head() {
    head_boot = 0;
    head_appended = INVALID;
    head_synced = INVALID;
    head_mark = INVALID;
    head_poison = 0
}

inline choose(low, high) {
    i = low;
    do
    :: i < high -> i++
    :: break
    od
}

inline env_kill() {
    choose(1, PROCESSES);
    if
    :: busy[i] && !kill[i] ->
        kills--;
        kill[i] = 1;
        if
        :: append_lock == i -> append_lock = 0
        :: else
        fi;
        if
        :: sync_lock == i -> sync_lock = 0
        :: else
        fi
    :: else
    fi;
    i = 0
}

inline env_writeback() {
    choose(1, N);
    if
    :: dirty[i] && writebacks > 0 ->
        writebacks--;
        disk[i] = cache[i];
        dirty[i] = 0
    :: dirty[i] && eios > 0 ->
        eios--;
        dirty[i] = 0;
        file_error[SEGMENT(i)] = 1
    :: else
    fi;
    i = 0
}

inline env_evict() {
    choose(1, N);
    if
    :: !dirty[i] && cache[i] != disk[i] -> cache[i] = disk[i]
    :: else
    fi;
    i = 0
}

inline env_power_loss() {
    powers--;
    if
    :: seg1_exists && !seg1_durable ->
        if
        :: seg1_exists = 0
        :: seg1_durable = 1
        fi
    :: else
    fi;
    i = 1;
    do
    :: i <= N ->
        if
        :: SEGMENT(i) && !seg1_exists -> disk[i] = 0
        :: else ->
            if
            :: !dirty[i] || disk[i] == cache[i]
            :: dirty[i] && disk[i] != cache[i] ->
                if
                :: skip
                :: disk[i] = cache[i]
                :: disk[i] = GARBAGE
                fi
            fi
        fi;
        if
        :: rots > 0 && WHOLE(disk[i]) && CAN_ROT(i) ->
            rots--;
            disk[i] = GARBAGE;
            rotted = 1
        :: skip
        fi;
        cache[i] = disk[i];
        dirty[i] = 0;
        i++
    :: else -> break
    od;
    i = 1;
    do
    :: i <= READER ->
        kill[i] = busy[i];
        i++
    :: else -> break
    od;
    i = 0;
    file_error[0] = 0;
    file_error[1] = 0;
    append_lock = 0;
    sync_lock = 0;
    head_poison = 0;
    boot++;
    if
    :: skip /* head as it was, */
    :: zero_head() /* zeros, */
    :: head_synced > 0 && head_synced != INVALID -> /* or older */
        head_synced--;
        head_mark = 0
    fi
}

/* esdb-verify --repair, abridged: forget the cache, so that the next rebuild sees what is on disk. */
inline env_repair() {
    repairs--;
    i = 1;
    do
    :: i <= N ->
        if
        :: !dirty[i] -> cache[i] = disk[i]
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0;
    head_boot = 0;
    head_poison = 0;
    poison_file = 0
}

#define LOCKS_FREE (append_lock == 0 && sync_lock == 0)

proctype Environment() {
    byte i;
end:
    do
    :: atomic { kills > 0 -> env_kill() }
    :: atomic { writebacks + eios > 0 && (dirty[1] || dirty[2] || dirty[N]) -> env_writeback() }
    :: atomic { eios < EIO -> env_evict() }
    :: atomic { powers > 0 -> env_power_loss() }
    :: atomic {
           zeros > 0 ->
           zeros--;
           zero_head();
           head_generation = INVALID
       }
    :: atomic { /* an old copy of head: a frame back, synced as it is; or everything back */
           olds > 0 && LOCKS_FREE && HEAD_VALID && head_appended > 0 && head_synced < head_appended ->
           olds--;
           head_appended--
       }
    :: atomic {
           olds > 0 && LOCKS_FREE && HEAD_VALID && head_synced > 0 ->
           olds--;
           head_synced--;
           head_appended = head_synced;
           head_mark = 0
       }
    :: atomic { repairs > 0 && POISONED && LOCKS_FREE -> env_repair() }
    od
}

init {
    atomic {
        byte k = 1;
        do
        :: k <= NP ->
            run Appender(k);
            k++
        :: else -> break
        od;
        k = 0;
        run Reader();
        run Environment()
    }
}
