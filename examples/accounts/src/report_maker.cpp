// SPDX-License-Identifier: Apache-2.0
// What a report says: sums, a median, and a fingerprint that takes its time. Runs in a thread, and knows nothing of tasks.

#include <belay/core/error.hpp>
#include <belay/core/stopped.hpp>

#include <algorithm>
#include <limits>

#include "reports.hpp"

namespace accounts {

namespace {

constexpr int rounds_of_an_entry = 2000;

void add_up(std::int64_t& sum, std::int64_t amount) {
  if (sum > std::numeric_limits<std::int64_t>::max() - amount) {
    throw belay::error(belay::error_kind::conflict, "report_overflow",
                       "the sum of the transfers is too large for a report");
  }
  sum += amount;
}

// One step of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
std::uint64_t stirred(std::uint64_t from) noexcept {
  from += 0x9e3779b97f4a7c15ULL;
  from = (from ^ (from >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  from = (from ^ (from >> 27U)) * 0x94d049bb133111ebULL;
  return from ^ (from >> 31U);
}

std::string to_hex(std::uint64_t number) {
  std::string text(16, '0');
  for (std::size_t i = text.size(); i-- != 0; number >>= 4U) text[i] = "0123456789abcdef"[number & 15U];
  return text;
}

}  // namespace

report_result make_report(const std::stop_token& stop, const std::vector<report_entry>& entries) {
  report_result made;
  std::vector<std::int64_t> amounts;
  amounts.reserve(entries.size());
  std::uint64_t chain = entries.size();
  for (const report_entry& one : entries) {
    if (stop.stop_requested()) throw belay::stopped();
    const std::int64_t amount = one.amount < 0 ? -one.amount : one.amount;
    add_up(one.amount < 0 ? made.sent : made.received, amount);
    amounts.push_back(amount);
    chain ^= static_cast<std::uint64_t>(one.id);
    chain = stirred(chain ^ static_cast<std::uint64_t>(one.amount));
    for (int i = 0; i != rounds_of_an_entry; ++i) chain = stirred(chain);
  }
  made.transfers = static_cast<std::int64_t>(entries.size());
  if (!amounts.empty()) {
    const auto middle = amounts.begin() + static_cast<std::ptrdiff_t>((amounts.size() - 1) / 2);
    std::nth_element(amounts.begin(), middle, amounts.end());
    made.median = *middle;
    made.largest = *std::max_element(amounts.begin(), amounts.end());
  }
  made.fingerprint = to_hex(chain);
  return made;
}

}  // namespace accounts
