// SPDX-License-Identifier: Apache-2.0
// Outputs: files, stderr, memory, and the bounded queue before a slow one.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <belay/core/error.hpp>
#include <belay/telemetry/logger.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <array>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stdexcept>

using namespace belay::telemetry;
using namespace std::chrono_literals;

namespace {

struct temporary_directory {
  temporary_directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "belay-telemetry-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    path = pattern;
  }
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  std::filesystem::path path;
};

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What the block writes to file descriptor 2.
template <class F>
std::string captured_stderr(F block) {
  std::fflush(stderr);
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(ends[1], STDERR_FILENO);
  ::close(ends[1]);
  block();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t n = ::read(ends[0], buffer.data(), buffer.size()); n > 0;
       n = ::read(ends[0], buffer.data(), buffer.size())) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  return text;
}

// Blocks in write until it is let go.
class gate_sink final : public sink {
 public:
  void write(level importance, std::string_view text) override {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    kept.write(importance, text);
  }
  bool flush(belay::duration limit) override { return kept.flush(limit); }
  void open() {
    const std::lock_guard hold(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ > 0; });
  }
  memory_sink kept;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;    // guarded by mutex_
  bool open_ = false;  // guarded by mutex_
};

class throwing_sink final : public sink {
 public:
  void write(level, std::string_view) override { throw std::runtime_error("disk full"); }
  bool flush(belay::duration) override { throw 1; }
};

}  // namespace

TEST_CASE("file_sink: records, are appended one a line, directories are made, an error is on disk at once") {
  const temporary_directory dir;
  const auto path = dir.path / "a" / "b.log";
  {
    const auto file = file_sink(path.string());
    file->write(level::error, "one");
    CHECK(contents(path) == "one\n");
    file->write(level::info, "%v two %d {}");
    CHECK(file->flush(1s));
    CHECK(contents(path) == "one\n%v two %d {}\n");
  }
  file_sink(path.string())->write(level::info, "three");
  CHECK(contents(path) == "one\n%v two %d {}\nthree\n");
}

TEST_CASE("file_sink: a path that cannot be opened, is refused with path and reason") {
  const temporary_directory dir;
  std::ofstream(dir.path / "file") << "x";
  const std::string path = (dir.path / "file" / "b.log").string();
  try {
    (void)file_sink(path);
    FAIL("opened");
  } catch (const belay::error& e) {
    CHECK(e.kind() == belay::error_kind::unavailable);
    CHECK(std::string(e.what()).find(path) != std::string::npos);
  }
}

TEST_CASE("file_sink: disk full, the record goes to stderr and is counted [row 474]") {
  if (::access("/dev/full", W_OK) != 0) return;
  const logger log(file_sink("/dev/full"));
  const std::string text = captured_stderr([&] { log.error("cannot_write"); });
  CHECK(text.find("\"event\":\"cannot_write\"") != std::string::npos);
  CHECK(log.statistics().sink_failures == 1);
}

TEST_CASE("stderr_sink: a record, is there at once with one newline") {
  const auto output = stderr_sink();
  CHECK(captured_stderr([&] { output->write(level::info, "hello"); }) == "hello\n");
}

TEST_CASE("logger: a sink that throws, leaves the line on stderr [row 474]") {
  const logger log(std::make_shared<throwing_sink>());
  const std::string text = captured_stderr([&] { log.info("important", {{"n", 1}}); });
  CHECK(text.find("\"event\":\"important\",\"n\":1}\n") != std::string::npos);
  CHECK(log.statistics().sink_failures == 1);
  CHECK(log.statistics().written == 0);
  CHECK_FALSE(log.flush());
  CHECK(log.statistics().sink_failures == 2);
}

TEST_CASE("background_sink: records, arrive in order, and flush waits for them [row 478]") {
  const auto kept = std::make_shared<memory_sink>();
  const auto output = background_sink(kept);
  for (int i = 0; i < 1000; ++i) output->write(level::info, std::to_string(i));
  CHECK(output->flush(10s));
  REQUIRE(kept->lines().size() == 1000);
  CHECK(kept->lines().front() == "0");
  CHECK(kept->lines().back() == "999");
  CHECK(kept->flushes() == 1);
  CHECK(output->dropped() == 0);
}

TEST_CASE("background_sink: destroyed with records waiting, writes and flushes them first [row 478]") {
  const auto kept = std::make_shared<memory_sink>();
  {
    const auto output = background_sink(kept);
    for (int i = 0; i < 100; ++i) output->write(level::info, std::to_string(i));
  }
  CHECK(kept->lines().size() == 100);
  CHECK(kept->flushes() == 1);
}

TEST_CASE("background_sink: the target blocks, writing never waits, the surplus is dropped and counted") {
  const auto gate = std::make_shared<gate_sink>();
  const auto output = background_sink(gate, {.capacity = 2});
  output->write(level::info, "0");
  gate->wait_until_reached();
  for (int i = 1; i <= 5; ++i) output->write(level::info, std::to_string(i));
  CHECK(output->dropped() == 3);
  CHECK_FALSE(output->flush(1ms));  // bounded
  gate->open();
  CHECK(output->flush(10s));
  CHECK(gate->kept.lines() == std::vector<std::string>{"0", "1", "2"});
  output->write(level::info, "again");
  CHECK(output->flush(10s));
  CHECK(gate->kept.lines().back() == "again");
}

TEST_CASE("background_sink: destroyed while the target blocks, gives up at the limit [row 478]") {
  const auto gate = std::make_shared<gate_sink>();
  {
    const auto output = background_sink(gate, {.close_limit = 1ms});
    output->write(level::info, "stuck");
    gate->wait_until_reached();
    output->write(level::info, "never written");
  }
  gate->open();
  CHECK(gate->kept.lines().size() <= 1);
}

TEST_CASE("background_sink: the target throws, the line goes to stderr and is counted [row 474]") {
  const logger log(background_sink(std::make_shared<throwing_sink>()));
  const std::string text = captured_stderr([&] {
    log.info("important");
    CHECK_FALSE(log.flush(10s));
  });
  CHECK(text.find("\"event\":\"important\"") != std::string::npos);
  CHECK(log.statistics().lost == 1);
}

TEST_CASE("background_sink: no capacity or no target, is refused") {
  CHECK_THROWS_AS((void)background_sink(std::make_shared<memory_sink>(), {.capacity = 0}), belay::error);
  CHECK_THROWS_AS((void)background_sink(nullptr), belay::error);
}

TEST_CASE("memory_sink: more than its capacity, keeps the last ones") {
  memory_sink kept(2);
  for (const char* text : {"a", "b", "c"}) kept.write(level::info, text);
  CHECK(kept.lines() == std::vector<std::string>{"b", "c"});
  kept.clear();
  CHECK(kept.lines().empty());
}
