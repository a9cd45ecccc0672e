// SPDX-License-Identifier: Apache-2.0
#pragma once
// The scripts of the store of policies.

#include <belay/db/redis/policy_store.hpp>

namespace belay::db::redis {

// Times inside are numbers of microseconds, whole; those of a bucket are nanoseconds. All fit into the 53 bits of a number of Lua.
struct policy_store::scripts {
  scripts();
  script bucket_take;  // interval ns, depth ns, weight; gives {taken, ns to wait, when it was full}
  script bucket_give;  // ns, when it was full
  script window_take;  // per us, permits, weight; gives {taken, us to wait, number of the entry}
  script window_give;  // number of the entry
  // rules; gives {admitted, generation, state, us until open ends or -1, changed, kind, code and message of the last failure}
  script breaker_admit;
  // rules, generation, verdict, slow, rules of the window, kind, code and message of a failure; gives {state, changed}
  script breaker_ended;
};

}  // namespace belay::db::redis
