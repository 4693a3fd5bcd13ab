// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
/* The work ring of the megakernel: publish, claim, complete, reclaim, snapshot. README.md in this
 * folder says what is checked and what is left out; check.sh runs it.
 *
 * Promela is sequentially consistent, the machines are not. A store here first goes on the way
 * (`to_slot`, `from_lane`), one bit a store, and the process `memory` makes it visible later, in any
 * order that the writer did not forbid. A bit waits for the bits in its WAITS_FOR: that is what a
 * release means. A load takes what is visible at its step; loads run in program order, since every
 * pair that matters is held in order by an acquire (the planted bugs move those loads).
 *
 * Each BUG_ macro plants one mistake that check.sh demands to be found. */

#define SLOTS 2
#ifndef LANES
#define LANES 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif

/* Statuses, the values of abi.h. */
#define EMPTY 0
#define PUBLISHED 1
#define CLAIMED 2
#define DONE 3
#define YIELD 5
#define FAULT 7

/* Works are numbered from 1; 0 is no work. Work w belongs to tenant w, so the tenant word and the
 * argument word of a whole slot are equal. Producer 0 publishes 1 and 2, producer 1 the rest. */
#ifndef WORKS
#define WORKS 4
#endif
#define PLAIN 1        /* done in one run */
#define UNAUTHORISED 2 /* must stay PUBLISHED for ever */
#define FAULTING 3     /* ends in FAULT, with a code that the reclaimer reads */
#define YIELDING 4     /* ends in YIELD once, then done by whoever claims it next */

#define runs_of(w) ((w) == YIELDING -> 2 : 1)
/* Tenant 0 has a mask too: what a zeroed slot would name must not be what protects it. */
#define is_authorised(t) ((t) != UNAUTHORISED)
#ifdef BUG_YIELD_NOT_RESUMED
#define is_schedulable(st) ((st) == PUBLISHED)
#else
#define is_schedulable(st) ((st) == PUBLISHED || (st) == YIELD)
#endif
#define is_publishable(st) ((st) == EMPTY || (st) == DONE)
#define is_odd(g) ((g) & 1)

/* Visible memory. The result words and the fault codes share `result`: runs seen of each work. */
byte generation[SLOTS];
byte status[SLOTS];
byte tenant[SLOTS];
byte argument[SLOTS];
byte result[WORKS + 1];
byte done_count;

/* Stores of a producer on the way to a slot. A slot has one writer at a time, so they are kept by
 * slot; a release also waits for the writer's earlier stores to other slots, which is not modelled:
 * that only adds behaviours. */
#define TENANT_STORE 1
#define ARGUMENT_STORE 2
#define STATUS_STORE 4
#define EVEN_STORE 8
#define ODD_STORE 16
byte to_slot[SLOTS];
byte to_slot_work[SLOTS]; /* 0: the slot is being reclaimed */
#ifdef BUG_GENERATION_USED_AGAIN
bool to_slot_again[SLOTS];
#endif

/* Stores of a lane on the way: the result, the status that ends the claim, the count. The lane can
 * be one claim ahead of them. */
#define RESULT_STORE 1
#define ENDING_STORE 2
#define COUNT_STORE 4
byte from_lane[LANES];
byte from_lane_slot[LANES];
byte from_lane_work[LANES];
byte from_lane_status[LANES];

/* What each store waits for. The fence after the reservation holds the body back until the odd
 * generation is visible, so the correct model makes the swap visible at once and ODD_STORE is never
 * on the way. */
#ifdef BUG_PUBLISH_WITHOUT_RELEASE
#define STATUS_WAITS_FOR 0
#else
#define STATUS_WAITS_FOR (TENANT_STORE | ARGUMENT_STORE)
#endif
#ifdef BUG_GENERATION_WITHOUT_RELEASE
#define EVEN_WAITS_FOR ODD_STORE
#else
#define EVEN_WAITS_FOR (ODD_STORE | TENANT_STORE | ARGUMENT_STORE | STATUS_STORE)
#endif
#ifdef BUG_DONE_WITHOUT_RELEASE
#define ENDING_WAITS_FOR 0
#elif defined(BUG_COUNT_BEFORE_DONE)
#define ENDING_WAITS_FOR (RESULT_STORE | COUNT_STORE)
#else
#define ENDING_WAITS_FOR RESULT_STORE
#endif
#if defined(BUG_COUNT_BEFORE_DONE) || defined(BUG_COUNT_WITHOUT_RELEASE)
#define COUNT_WAITS_FOR 0
#else
#define COUNT_WAITS_FOR (RESULT_STORE | ENDING_STORE)
#endif

/* Ghosts: no process decides by them; assertions do. */
bool written[SLOTS];  /* a host thread reserved the slot and its stores are not all visible */
bool held[SLOTS];     /* a lane claimed the slot and its ending is not visible */
byte content[SLOTS];  /* the work last written into the slot */
byte runs[WORKS + 1]; /* how often each work ran */
byte visible_dones;
byte finished_producers;

/* One visible store. Its effect and the assertion of what its appearance promises are one step, so
 * the assertions hold whenever anybody looks, not only when a modelled observer does. */
#define SLOT_STORES(s)                                                                     \
  :: d_step { (to_slot[s] & ODD_STORE) != 0 -> generation[s]++; ARRIVED(s, ODD_STORE) }    \
  :: d_step { (to_slot[s] & TENANT_STORE) != 0 ->                                          \
       tenant[s] = to_slot_work[s]; ARRIVED(s, TENANT_STORE) }                             \
  :: d_step { (to_slot[s] & ARGUMENT_STORE) != 0 ->                                        \
       argument[s] = to_slot_work[s]; ARRIVED(s, ARGUMENT_STORE) }                         \
  :: d_step { (to_slot[s] & STATUS_STORE) != 0 && (to_slot[s] & STATUS_WAITS_FOR) == 0 ->  \
       status[s] = (to_slot_work[s] -> PUBLISHED : EMPTY); ARRIVED(s, STATUS_STORE) }      \
  :: d_step { (to_slot[s] & EVEN_STORE) != 0 && (to_slot[s] & EVEN_WAITS_FOR) == 0 ->      \
       generation[s] = generation[s] + GENERATION_STEP(s); ARRIVED(s, EVEN_STORE) }

#ifdef BUG_GENERATION_NOT_BUMPED
#define GENERATION_STEP(s) (-1) /* back to the value before the reservation */
#elif defined(BUG_GENERATION_USED_AGAIN)
#define GENERATION_STEP(s) (to_slot_again[s] -> -1 : 1)
#else
#define GENERATION_STEP(s) 1
#endif

/* What describes stores that have all arrived is zeroed: it would only tell equal states apart. */
#define ARRIVED(s, store)                                                                  \
  to_slot[s] = to_slot[s] & ~(store);                                                      \
  if                                                                                       \
  :: to_slot[s] == 0 -> written[s] = false; to_slot_work[s] = 0                            \
  :: else                                                                                  \
  fi

#define LANE_STORES(l)                                                                     \
  :: d_step { (from_lane[l] & RESULT_STORE) != 0 ->                                        \
       result[from_lane_work[l]]++; ENDED(l, RESULT_STORE) }                               \
  :: d_step { (from_lane[l] & ENDING_STORE) != 0 &&                                        \
              (from_lane[l] & ENDING_WAITS_FOR) == 0 ->                                    \
       /* No DONE, FAULT or YIELD is visible before what it promises. */                   \
       assert(result[from_lane_work[l]] == runs[from_lane_work[l]]);                       \
       status[from_lane_slot[l]] = from_lane_status[l];                                    \
       held[from_lane_slot[l]] = false;                                                    \
       visible_dones = visible_dones + (from_lane_status[l] == DONE);                      \
       ENDED(l, ENDING_STORE) }                                                            \
  :: d_step { (from_lane[l] & COUNT_STORE) != 0 &&                                         \
              (from_lane[l] & COUNT_WAITS_FOR) == 0 ->                                     \
       done_count++; assert(done_count <= visible_dones); ENDED(l, COUNT_STORE) }

#define ENDED(l, store)                                                                    \
  from_lane[l] = from_lane[l] & ~(store);                                                  \
  if                                                                                       \
  :: from_lane[l] == 0 ->                                                                  \
     from_lane_slot[l] = 0; from_lane_work[l] = 0; from_lane_status[l] = 0                 \
  :: else                                                                                  \
  fi

active proctype memory() {
end:
  do
  SLOT_STORES(0)
  SLOT_STORES(1)
  LANE_STORES(0)
#if LANES == 2
  LANE_STORES(1)
#endif
  od
}

/* A host thread. An attempt that fails changes nothing, so instead of spinning a producer waits for
 * a slot that can be had: a work that is lost then shows as a process stuck for ever. With SCAN it
 * spins over the slots in turn, as the code does; the liveness check needs that. */
#define may_reserve(s) \
  (!is_odd(generation[s]) && (is_publishable(status[s]) || status[s] == FAULT))

#ifdef SCAN
#define NEXT_SLOT(s) s = 1 - s
#else
#define NEXT_SLOT(s) s = 0
#endif

proctype producer(byte first, last) {
  byte work = first, slot, before, seen;
#ifdef LET_GO
  bool may_let_go = true; /* once: each time more is a factor of states */
  byte left[SLOTS];       /* the generation it left behind */
#endif
  do
  :: work > last -> break
  :: else ->
  retry:
#ifdef BUG_STATUS_BEFORE_GENERATION
    if
    :: atomic { may_reserve(0) -> slot = 0; seen = status[0] }
    :: atomic { may_reserve(1) -> slot = 1; seen = status[1] }
    fi;
    before = generation[slot];
    if
    :: is_odd(before) -> before = 0; goto retry
    :: else
    fi;
#else
#ifdef SCAN
    atomic {
      before = generation[slot];
      if
      :: is_odd(before) -> before = 0; NEXT_SLOT(slot); goto retry
      :: else
      fi
    };
#else
    if
    :: atomic { may_reserve(0) -> slot = 0; before = generation[0] }
    :: atomic { may_reserve(1) -> slot = 1; before = generation[1] }
    fi;
#endif
    atomic {
      seen = status[slot];
      if
      :: is_publishable(seen) || seen == FAULT
      :: else -> before = 0; seen = 0; NEXT_SLOT(slot); goto retry
      fi
    };
#endif
#ifdef BUG_RECLAIM_WITHOUT_RESERVATION
    if
    :: seen == FAULT -> atomic { status[slot] = EMPTY; before = 0; seen = 0; goto retry }
    :: else
    fi;
#endif
#ifdef BUG_RESERVE_WITHOUT_SWAP
    if
    :: generation[slot] == before
    :: else -> before = 0; seen = 0; goto retry
    fi;
#endif
    /* The reservation. All stores of the writer are issued with it: when a store becomes visible is
     * up to `memory` anyway, and a producer loads nothing in between but the fault code. */
    atomic {
      if
#ifdef BUG_RESERVE_WITHOUT_SWAP
      :: true ->
#else
      :: generation[slot] == before && (to_slot[slot] & ODD_STORE) == 0 ->
#endif
        assert(!written[slot]);
        assert(!held[slot] && !is_schedulable(status[slot]));
        written[slot] = true;
#ifdef BUG_RESERVE_WITHOUT_FENCE
        to_slot[slot] = ODD_STORE | EVEN_STORE | STATUS_STORE;
#else
        generation[slot] = before + 1;
        to_slot[slot] = EVEN_STORE | STATUS_STORE;
#endif
        if
        :: seen == FAULT ->
          /* Reclaim: FAULT -> EMPTY under the same reservation. The code is there to be read. */
          assert(result[content[slot]] == 1);
          to_slot_work[slot] = 0
#ifdef LET_GO
        :: seen != FAULT && may_let_go ->
          /* Taken and let go unwritten: the next slot of a run was not to be had, or the work was
           * refused. The generation moves on all the same. */
          may_let_go = false;
          left[slot] = before + 2;
          to_slot[slot] = to_slot[slot] & ~STATUS_STORE
#endif
        :: seen != FAULT ->
#ifdef BUG_GENERATION_USED_AGAIN
          /* What it publishes here then gets the same generation again. */
          to_slot_again[slot] = (left[slot] == before && before > 0);
#endif
          to_slot[slot] = to_slot[slot] | TENANT_STORE | ARGUMENT_STORE;
          to_slot_work[slot] = work;
          content[slot] = work;
          work++
        fi
      :: else
      fi;
      before = 0; seen = 0; NEXT_SLOT(slot)
    }
  od;
  finished_producers++
}

/* A kernel worker. A look that ends in a refusal changes nothing, so a lane waits for a slot worth
 * more than that; with SCAN it spins over the slots in turn. */
#define may_claim(s) (is_schedulable(status[s]) && is_authorised(tenant[s]))

#define ISSUE(ending, stores) \
  from_lane[id] = (stores); from_lane_slot[id] = slot; from_lane_work[id] = copied; \
  from_lane_status[id] = (ending)

proctype lane(byte id) {
  byte slot, seen, looked, copied, copied_argument;
end:
  do
  :: /* The relaxed look. */
#ifdef SCAN
    atomic {
      seen = status[slot];
      if
      :: is_schedulable(seen)
      :: else -> seen = 0; NEXT_SLOT(slot); goto end
      fi
    };
#else
    if
    :: atomic { may_claim(0) -> slot = 0; seen = status[0] }
    :: atomic { may_claim(1) -> slot = 1; seen = status[1] }
    fi;
#endif
    /* Acquired, since it matched: the tenant is that of the work seen or of a later one. */
    atomic {
      looked = tenant[slot];
      if
      :: is_authorised(looked)
      :: else ->
        looked = 0; seen = 0;
#ifndef BUG_LANE_STAYS
        NEXT_SLOT(slot);
#endif
        goto end
      fi
    };
#ifdef BUG_COPY_BEFORE_CLAIM
    copied = looked;
    copied_argument = argument[slot];
#endif
#ifdef BUG_CLAIM_WITHOUT_SWAP
    if
    :: status[slot] == seen
    :: else -> looked = 0; seen = 0; goto end
    fi;
#endif
    atomic {
      if
#ifdef BUG_CLAIM_WITHOUT_SWAP
      :: true ->
#else
      :: status[slot] == seen ->
#endif
        assert(!held[slot]);
        held[slot] = true;
        status[slot] = CLAIMED
      :: else -> looked = 0; copied = 0; copied_argument = 0; seen = 0; NEXT_SLOT(slot); goto end
      fi
    };
    /* The copy. One order of the two loads shows every mix of old and new words, since the stores
     * become visible in any order. */
#ifndef BUG_COPY_BEFORE_CLAIM
    copied = tenant[slot];
    copied_argument = argument[slot];
#endif
    /* Execution, when the previous ending's stores are visible. */
    atomic {
      from_lane[id] == 0;
      if
#ifndef BUG_AUTHORISE_BEFORE_CLAIM_ONLY
      :: copied != looked && !is_authorised(copied) ->
        /* Another work took the slot between look and claim: put it back as it was. */
#ifndef BUG_REFUSED_NOT_PUT_BACK
        ISSUE(seen, ENDING_STORE)
#else
        skip
#endif
#endif
#ifdef BUG_AUTHORISE_BEFORE_CLAIM_ONLY
      :: true ->
#else
      :: else ->
#endif
        assert(is_authorised(copied));
        assert(copied == copied_argument);
        assert(copied == content[slot]);
        assert(runs[copied] < runs_of(copied)); /* not run again */
        assert(runs[copied] == result[copied]); /* goes on from what the lane before it left */
        runs[copied]++;
        if
        :: copied == FAULTING -> ISSUE(FAULT, RESULT_STORE | ENDING_STORE)
        :: copied != FAULTING && runs[copied] < runs_of(copied) ->
          ISSUE(YIELD, RESULT_STORE | ENDING_STORE)
        :: else -> ISSUE(DONE, RESULT_STORE | ENDING_STORE | COUNT_STORE)
        fi
      fi;
      looked = 0; copied = 0; copied_argument = 0; seen = 0; NEXT_SLOT(slot)
    }
  od
}

#ifdef READER
/* A host thread that copies slot 0 of the live ring; the slots are alike. One snapshot that may begin
 * at any moment stands for all. */
proctype reader() {
  byte before, seen, snapshot_tenant, snapshot_argument, expected;
  bool whole;
  atomic {
    before = generation[0];
    expected = content[0];
    if
    :: is_odd(before) -> goto torn
    :: else
    fi
  };
  seen = status[0];
#ifdef BUG_SNAPSHOT_WITHOUT_FENCE
  whole = (generation[0] == before);
#endif
  snapshot_tenant = tenant[0];
  snapshot_argument = argument[0];
  atomic {
    if
    :: status[0] == seen -> seen = 0
    :: else -> goto torn
    fi
  };
  atomic {
#ifndef BUG_SNAPSHOT_WITHOUT_FENCE
    whole = (generation[0] == before);
#endif
    assert(!whole || snapshot_tenant == snapshot_argument);
    assert(!whole || snapshot_tenant == expected);
  torn:
    before = 0; seen = 0; snapshot_tenant = 0; snapshot_argument = 0; expected = 0; whole = false
  }
}
#endif

#if WORKS == 4
#define all_completed (result[PLAIN] == 1 && result[FAULTING] == 1 && result[YIELDING] == 2)
#define expected_dones 2
#else
#define all_completed (result[PLAIN] == 1 && result[FAULTING] == 1)
#define expected_dones 1
#endif

#ifndef SCAN
/* Nothing moves any more. Then nothing is lost: each work that may run ran to its end and shows its
 * result, the other is still PUBLISHED, and the count is exact. */
proctype auditor() {
  timeout ->
    assert(finished_producers == PRODUCERS);
    assert(all_completed);
    assert(runs[UNAUTHORISED] == 0);
    assert(content[0] == UNAUTHORISED && status[0] == PUBLISHED ||
           content[1] == UNAUTHORISED && status[1] == PUBLISHED);
    assert(done_count == visible_dones && done_count == expected_dones)
}
#endif

init {
  atomic {
#if PRODUCERS == 1
    run producer(1, WORKS);
#else
    run producer(1, 2);
    run producer(3, WORKS);
#endif
    run lane(0);
#if LANES == 2
    run lane(1);
#endif
#ifdef READER
    run reader();
#endif
#ifndef SCAN
    run auditor()
#endif
  }
}

#ifdef SCAN
ltl served { <> (all_completed && done_count == expected_dones) }
#endif
