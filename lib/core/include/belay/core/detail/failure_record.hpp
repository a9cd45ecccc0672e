// SPDX-License-Identifier: Apache-2.0
#pragma once
// The shared record behind a `failure`.

#include <belay/core/detail/ref.hpp>
#include <atomic>
#include <exception>
#include <source_location>
#include <string>
#include <vector>

namespace belay {
class failure;
}

namespace belay::detail {

class failure_record final : public refcounted {
 public:
  explicit failure_record(std::exception_ptr what) noexcept;
  ~failure_record() override;

  std::exception_ptr exception;
  std::vector<std::source_location> trace;
  std::vector<failure> attached;
  std::vector<std::string> notes;
  std::atomic<bool> observed{false};

 protected:
  // An unobserved failure goes to the sink, which becomes its last owner.
  void last_release() noexcept override;
};

}  // namespace belay::detail
