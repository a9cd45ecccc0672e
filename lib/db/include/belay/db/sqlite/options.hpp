// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a SQLite database is opened and used.

#include <belay/core/time.hpp>
#include <cstddef>

namespace belay::db::sqlite {

/// When a commit has reached the disk.
enum class durability : unsigned char {
  full,    ///< at every commit: survives power loss
  normal,  ///< at checkpoints: a power loss may undo the last commits; a crash of the process does not
};

/// How much of the file is read when it is opened.
enum class open_check : unsigned char {
  schema,  ///< header, size and schema: constant time
  quick,   ///< every page, without comparing indexes to tables; time grows with the file
  full,    ///< everything
};

struct options {
  std::size_t readers =
      4;  ///< connections for reading beside the one that writes; 0: reads use the writing one
  /// How long one operation may wait for a free connection and for locks of other processes, both together.
  /// Above 0. When it passes: `busy_error`.
  duration busy_timeout = std::chrono::seconds(5);
  durability durable = durability::full;
  open_check check = open_check::schema;
  std::size_t cached_statements = 64;  ///< prepared statements kept by each connection; 0: none
};

}  // namespace belay::db::sqlite
