// SPDX-License-Identifier: Apache-2.0
#pragma once
// The scripts of the store of policies.

#include <belay/db/redis/policy_store.hpp>

namespace belay::db::redis {

// Times inside are numbers of microseconds, whole; those of a bucket are nanoseconds. All fit into the 53 bits of a number of Lua.
struct policy_store::scripts {
  scripts();
  script bucket_take;    // interval ns, depth ns, weight; gives {taken, ns to wait}
  script bucket_give;    // ns
  script window_take;    // per us, permits, weight; gives {taken, us to wait, number of the entry}
  script window_give;    // number of the entry
  script breaker_admit;  // rules; gives {admitted, generation, state, us until open ends or -1}
  script breaker_ended;  // rules, generation, verdict, slow; gives state
};

}  // namespace belay::db::redis
