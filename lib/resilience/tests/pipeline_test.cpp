// SPDX-License-Identifier: Apache-2.0
#include <belay/core/task_function.hpp>
#include <belay/resilience/pipeline.hpp>
#include <belay/resilience/timeout.hpp>
#include <doctest/doctest.h>

#include <memory>

#include "support.hpp"

namespace {

namespace b = belay;
namespace t = belay::testing;
using namespace core_tests;

// Notes when it is entered and left.
class marks : public b::policy<marks> {
 public:
  marks(trail& out, std::string name) : out_(&out), name_(std::move(name)) {}
  template <b::guarded_operation Next>
  b::task<b::guarded_result<Next>> run(Next next) const {
    out_->push_back("into " + name_);
    auto how = co_await b::detail::attempt(next);
    out_->push_back("out of " + name_);
    if (!how.succeeded()) co_await b::detail::end_with(how);
    if constexpr (!std::is_void_v<b::guarded_result<Next>>) co_return how.get_forward();
  }
  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] std::string describe() const { return "marks " + name_; }

 private:
  trail* out_;
  std::string name_;
};
static_assert(b::resilience_policy<marks>);
static_assert(b::resilience_policy<b::timeout>);
static_assert(b::resilience_policy<b::pipeline<b::timeout>>);

TEST_CASE("pipeline: outermost first; pipelines nest") {
  t::test_loop loop;
  trail out;
  const b::pipeline inner{marks(out, "b"), marks(out, "c")};
  const b::pipeline guarded{marks(out, "a"), inner, b::timeout{1s}};
  CHECK(loop.run(guarded(gives, 7)) == 7);
  CHECK(out == trail{"into a", "into b", "into c", "out of c", "out of b", "out of a"});
  CHECK(guarded.describe() == "marks a\n  marks b\n    marks c\n      timeout: 1 s");
  CHECK(guarded.get<2>().limit() == 1s);
}

TEST_CASE("pipeline: void, references, move-only results and operations") {
  t::test_loop loop;
  const auto program = []() -> b::task<> {
    const b::pipeline guarded{b::timeout{2s}, b::timeout{1s}};
    co_await guarded(naps, 1ms);
    int kept = 3;
    const auto reference = [&kept]() -> b::task<int&> { co_return kept; };
    CHECK(&co_await guarded(reference) == &kept);
    const auto unique = []() -> b::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
    CHECK(*co_await guarded(unique) == 4);
    CHECK(co_await guarded([held = std::make_unique<int>(5)]() -> b::task<int> { co_return *held; }) == 5);
    CHECK(co_await b::pipeline{b::timeout{1s}}(gives, 6) == 6);
  };
  loop.run(program());
}

TEST_CASE("pipeline: what is not copied is referred to; member functions") {
  t::test_loop loop;
  const auto program = []() -> b::task<> {
    const b::pipeline guarded{b::timeout{2s}, b::timeout{1s}};
    int live = 0;
    auto counts = [calls = 0, kept = counted(live)]() mutable -> b::task<int> { co_return ++calls; };
    CHECK(co_await guarded(std::ref(counts)) == 1);
    CHECK(co_await guarded(std::ref(counts)) == 2);
    CHECK(co_await guarded(counts) == 3);
    CHECK(co_await guarded(counts) == 3);
    CHECK(live == 1);
    auto adds = [sum = 0](int more) mutable -> b::task<int> { co_return sum += more; };
    CHECK(co_await guarded(std::ref(adds), 2) == 2);
    CHECK(co_await guarded(std::ref(adds), 3) == 5);
    struct source {
      int value = 7;
      b::task<int> read(int times) const { co_return value* times; }
    };
    const source of;
    CHECK(co_await guarded(&source::read, &of, 2) == 14);
    CHECK(co_await guarded(&source::read, of, 3) == 21);
    b::task_function<b::task<int>()> erased([]() -> b::task<int> { co_return 9; });
    CHECK(co_await guarded(std::ref(erased)) == 9);
    CHECK(co_await guarded(std::move(erased)) == 9);
  };
  loop.run(program());
}

TEST_CASE("pipeline: a copy can be spawned with its operation, and used by many tasks") {
  t::test_loop loop;
  int done = 0;
  const auto program = [&done]() -> b::task<> {
    co_await b::with_group([&done](b::group& g) -> b::task<> {
      const b::pipeline guarded{b::timeout{2s}, b::timeout{1s}};
      const auto counts = [&done]() -> b::task<> {
        co_await b::sleep_for(10ms);
        ++done;
      };
      for (int i = 0; i < 100; ++i) g.spawn(guarded, counts);
      co_return;
    });
  };
  loop.run(program());
  CHECK(done == 100);
  CHECK(loop.elapsed() == 10ms);
}

TEST_CASE("pipeline: dropped before it runs, the operation is destroyed once and nothing is run") {
  int live = 0;
  const b::pipeline guarded{b::timeout{2s}, b::timeout{1s}};
  {
    const auto dropped = guarded([kept = counted(live)]() -> b::task<int> { co_return 1; });
    CHECK(live == 1);
  }
  CHECK(live == 0);
}

}  // namespace
