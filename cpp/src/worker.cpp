#include <scaler/worker.h>

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <typeinfo>
#include <unordered_map>
#include <cxxabi.h>

#include "session.h"

namespace scaler {

namespace detail {

namespace {

constexpr std::size_t batch_bytes = 128 << 10;
constexpr std::size_t most_served = 16;  // names in what one worker has

struct Task {
    std::uint64_t task = 0, attempt = 0;
    std::uint32_t function = 0, limit_ms = 0;
    std::string payload;
    std::string trouble;  // why it cannot be run; empty: it can
};

struct Result {
    std::uint32_t peer;
    std::uint64_t task, attempt;
    std::uint32_t function;
    Status status;
    std::uint64_t duration_ns;
    std::string payload;
};

// A worker, as the scheduler sees it. All of it is under the session's mutex.
struct Slot {
    std::deque<Task> waiting;
    std::optional<Task> running;
    bool is_wanted = true;      // the result of what runs
    bool is_survivor = false;   // what runs was given by a scheduler before this one
    std::unordered_map<std::uint32_t, std::string> functions;  // names by number
    std::uint64_t made = 0;     // objects
};

std::string type_name(const std::exception& error) {
    int status = 0;
    std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status),
                                                std::free);
    return status == 0 ? name.get() : typeid(error).name();
}

std::string failure(const std::string& type, const std::string& message) {
    auto text = message.substr(0, 16384);
    return Json{{"type", type}, {"message", text}, {"traceback", type + ": " + text + "\n"}}.dump(
        -1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace

class WorkerSession : public Session {
  public:
    WorkerSession(const Connection& where, unsigned slots, std::string name)
        : Session(where, true), slots_(slots), name_(std::move(name)) {
        if (slots == 0) throw std::invalid_argument("a worker has at least one slot");
        for (unsigned i = 0; i < slots; ++i) worker_names_.push_back(name_ + "-" + std::to_string(i + 1));
    }

    void add(const std::string& name, Worker::Function function) {
        if (tag_of(name).empty())
            throw std::invalid_argument("a name with a colon is one that Python imports: " + name);
        if (served_.size() == most_served && !served_.contains(name))
            throw std::invalid_argument("a worker serves at most " + std::to_string(most_served) + " functions");
        served_[name] = std::move(function);
    }

    void run() {
        try {
            connect();
        } catch (const ConnectionError&) {
            if (is_stopping_) return;
            throw;
        }
        std::vector<std::thread> threads;
        for (std::uint32_t peer = 0; peer < slots_.size(); ++peer)
            threads.emplace_back([this, peer] { serve(peer); });
        loop();
        {
            std::lock_guard lock(mutex_);
            is_over_ = true;
        }
        has_task_.notify_all();
        for (auto& thread : threads) thread.join();
        if (!trouble_.empty()) throw ConnectionError(trouble_);
    }

    void stop() noexcept {
        is_stopping_ = true;
        ring();
    }

  protected:
    void on_new_session(bool is_first) override {
        std::lock_guard lock(mutex_);
        for (std::uint32_t peer = 0; peer < slots_.size(); ++peer) {
            auto& slot = slots_[peer];
            slot.waiting.clear();  // its client sends it again
            slot.functions.clear();
            slot.is_survivor = slot.running.has_value();
            post(128, [&](::Frame::Builder frame) {
                auto joined = frame.initJoined();
                joined.setPeer(peer);
                joined.setName(worker_names_[peer]);
                joined.setPid(static_cast<std::uint32_t>(getpid()));
                joined.setOutlived(!is_first);
                joined.setResources(resources());
                if (slot.running) {
                    joined.setTask(slot.running->task);
                    joined.setAttempt(slot.running->attempt);
                }
            });
        }
        objects_.clear();
        has_left_ = is_leaving_ = false;
        // What the scheduler before may not have taken is said again.
        for (auto& [object, result] : untaken_) results_.push_back(std::move(result));
        untaken_.clear();
        for (const auto& bytes : ledger_before().kept()) {
            Incoming said(bytes.data(), bytes.size());
            if (!said.frame().isResults()) continue;
            auto results = said.frame().getResults();
            auto flags = as_bytes(results.getFlags());
            if (std::any_of(flags.begin(), flags.end(), [](char flag) { return flag & flag_objects; })) continue;
            post(bytes.size(), [&](::Frame::Builder frame) { frame.setResults(results); });
        }
    }

    bool has_news() override {
        std::lock_guard lock(mutex_);
        return !results_.empty() || (is_stopping_ && !is_leaving_);
    }

    // What was begun is answered, and the scheduler has taken it.
    bool is_finished() override { return has_left_ && has_said_all(); }

    bool is_to_end() const override { return is_stopping_; }

    void collect() override {
        while (has_room() && !is_sending() && say_results()) {
        }
        if (is_stopping_ && !is_sending()) leave();
    }

    void on_frame(::Frame::Reader frame) override {
        switch (frame.which()) {
            case ::Frame::TASKS: return on_tasks(frame.getTasks());
            case ::Frame::FUNCTIONS: return on_functions(frame.getFunctions());
            case ::Frame::FORGET: return on_forget(frame.getForget());
            case ::Frame::WITHDRAW: return on_withdraw(frame.getWithdraw());
            case ::Frame::CANCEL: return on_cancel(frame.getCancel());
            case ::Frame::TAKEN: return on_taken(frame.getTaken());
            case ::Frame::FREED: return on_freed(frame.getFreed());
            case ::Frame::QUESTION: return on_question(frame.getQuestion());
            case ::Frame::DEMAND: return;
            case ::Frame::SHUTDOWN: return end("");
            default: throw FrameError("a scheduler does not say that to a cluster");
        }
    }

    void on_over(const std::string& reason) override { trouble_ = has_left_ ? "" : reason; }

  private:
    // What these workers have, a line for each function, in order.
    std::string resources() const {
        std::string lines;
        for (const auto& [name, function] : served_) lines += (lines.empty() ? "" : "\n") + tag_of(name);
        return lines;
    }

    Slot& slot_at(std::uint32_t peer) {
        if (peer >= slots_.size()) throw FrameError("there is no worker " + std::to_string(peer));
        return slots_[peer];
    }

    // what the scheduler says

    void on_tasks(::Tasks::Reader batch) {
        auto ids = batch.getTasks(), said_ends = batch.getEnds(), said_payload = batch.getPayload();
        auto rows = rows_of<std::uint64_t>("tasks", ids);
        auto tasks = read_column<std::uint64_t>("tasks", ids, rows);
        auto peers = read_column<std::uint32_t>("peers", batch.getPeers(), rows);
        auto attempts = read_column<std::uint64_t>("attempts", batch.getAttempts(), rows);
        auto functions = read_column<std::uint32_t>("functions", batch.getFunctions(), rows);
        auto flags = read_column<std::uint8_t>("flags", batch.getFlags(), rows);
        auto limits = read_column<std::uint32_t>("limitsMs", batch.getLimitsMs(), rows);
        auto ends = read_ends(said_ends, said_payload, said_ends.size() ? rows : 0);
        auto payload = as_bytes(said_payload);
        {
            std::lock_guard lock(mutex_);
            for (std::size_t row = 0; row < rows; ++row) {
                Task task{tasks[row], attempts[row], functions[row], limits[row], {}, {}};
                std::size_t begin = row && !ends.empty() ? ends[row - 1] : 0;
                auto said = ends.empty() ? std::string_view() : payload.substr(begin, ends[row] - begin);
                constexpr int not_alone = 4 | 8 | 32;  // keywords of a pickle, several calls, results of other tasks
                if (flags[row] & not_alone)
                    task.trouble = "a worker in C++ takes one call with one text for its arguments";
                else if (flags[row] & flag_objects)
                    try {
                        task.payload = take_object(said, true);
                    } catch (const FrameError& error) {
                        task.trouble = error.what();
                    }
                else
                    task.payload = said;
                slot_at(peers[row]).waiting.push_back(std::move(task));
            }
        }
        has_task_.notify_all();
    }

    void on_functions(::Functions::Reader batch) {
        auto digests = batch.getDigests().size(), rows = digests / 16;
        if (rows == 0 || digests % 16) throw FrameError("digests: no rows");
        auto said_payload = batch.getPayload();
        auto peers = read_column<std::uint32_t>("peers", batch.getPeers(), rows);
        auto numbers = read_column<std::uint32_t>("numbers", batch.getNumbers(), rows);
        auto flags = read_column<std::uint8_t>("flags", batch.getFlags(), rows);
        auto ends = read_ends(batch.getEnds(), said_payload, rows);
        auto payload = as_bytes(said_payload);
        std::lock_guard lock(mutex_);
        for (std::size_t row = 0; row < rows; ++row) {
            std::size_t begin = row ? ends[row - 1] : 0;
            bool is_name = flags[row] & flag_named;  // else it is a pickle, and no name that anything here has
            slot_at(peers[row]).functions[numbers[row]] =
                is_name ? std::string(payload.substr(begin, ends[row] - begin)) : std::string();
        }
    }

    void on_forget(::Forget::Reader batch) {
        auto said_numbers = batch.getNumbers();
        auto rows = rows_of<std::uint32_t>("numbers", said_numbers);
        auto peers = read_column<std::uint32_t>("peers", batch.getPeers(), rows);
        auto numbers = read_column<std::uint32_t>("numbers", said_numbers, rows);
        std::lock_guard lock(mutex_);
        for (std::size_t row = 0; row < rows; ++row) slot_at(peers[row]).functions.erase(numbers[row]);
    }

    void on_withdraw(::Selection::Reader batch) {
        auto said_peers = batch.getPeers(), said_tasks = batch.getTasks(), said_attempts = batch.getAttempts();
        auto rows = rows_of<std::uint64_t>("tasks", said_tasks);
        auto peers = read_column<std::uint32_t>("peers", said_peers, rows);
        auto tasks = read_column<std::uint64_t>("tasks", said_tasks, rows);
        auto attempts = read_column<std::uint64_t>("attempts", said_attempts, rows);
        std::string took;
        {
            std::lock_guard lock(mutex_);
            for (std::size_t row = 0; row < rows; ++row) {
                auto erased = std::erase_if(slot_at(peers[row]).waiting, [&](const Task& task) {
                    return task.task == tasks[row] && task.attempt == attempts[row];
                });
                took += static_cast<char>(erased > 0);
            }
        }
        post(rows * 24, [&](::Frame::Builder frame) {
            auto withdrawn = frame.initWithdrawn();
            withdrawn.setPeers(said_peers);
            withdrawn.setTasks(said_tasks);
            withdrawn.setAttempts(said_attempts);
            withdrawn.setTook(as_data(took));
        });
    }

    // What runs cannot be stopped: it is answered when it has ended. What waits is never named here.
    void on_cancel(::Selection::Reader batch) {
        auto said_peers = batch.getPeers(), said_tasks = batch.getTasks(), said_attempts = batch.getAttempts();
        auto rows = rows_of<std::uint64_t>("tasks", said_tasks);
        auto peers = read_column<std::uint32_t>("peers", said_peers, rows);
        auto tasks = read_column<std::uint64_t>("tasks", said_tasks, rows);
        auto attempts = read_column<std::uint64_t>("attempts", said_attempts, rows);
        std::lock_guard lock(mutex_);
        for (std::size_t row = 0; row < rows; ++row) {
            auto& slot = slot_at(peers[row]);
            if (slot.running && slot.running->task == tasks[row] && slot.running->attempt == attempts[row])
                slot.is_wanted = false;
        }
    }

    void on_taken(::Taken::Reader batch) {
        auto said_objects = batch.getObjects();
        auto rows = rows_of<std::uint64_t>("objects", said_objects);
        auto objects = read_column<std::uint64_t>("objects", said_objects, rows);
        auto names = read_column<std::uint64_t>("names", batch.getNames(), rows);
        for (std::size_t row = 0; row < rows; ++row) {
            auto found = untaken_.find(objects[row]);
            if (found == untaken_.end()) continue;
            if (names[row]) objects_[names[row]] = packed(found->second.payload);  // tasks to come may name it so
            untaken_.erase(found);
        }
    }

    void on_freed(::Objects::Reader batch) {
        auto objects = batch.getObjects();
        auto rows = rows_of<std::uint64_t>("objects", objects);
        for (auto object : read_column<std::uint64_t>("objects", objects, rows)) objects_.erase(object);
    }

    void on_question(::Question::Reader question) {
        bool is_output = question.getWhat() == 2;
        post(256, [&](::Frame::Builder frame) {
            auto answer = frame.initAnswer();
            answer.setNumber(question.getNumber());
            if (is_output)
                answer.setText("all of it");
            else
                answer.setProblem("it runs in a worker that is written in C++, which does not say what its code does");
        });
    }

    // what is said

    bool say_results() {
        std::string peers, tasks, attempts, functions, statuses, durations, ends, payload;
        std::optional<Result> large;
        {
            std::lock_guard lock(mutex_);
            while (!results_.empty() && payload.size() < batch_bytes && tasks.size() < batch_bytes / 2) {
                auto& result = results_.front();
                if (result.payload.size() > most_payload_bytes) {
                    if (!tasks.empty()) break;
                    large = std::move(result);
                    results_.pop_front();
                    break;
                }
                put(peers, result.peer);
                put(tasks, result.task);
                put(attempts, result.attempt);
                put(functions, result.function);
                put(statuses, static_cast<std::uint16_t>(result.status));
                put(durations, result.duration_ns);
                payload += result.payload;
                put(ends, static_cast<std::uint32_t>(payload.size()));
                results_.pop_front();
            }
        }
        if (large) {
            say_large(std::move(*large));
            return true;
        }
        if (tasks.empty()) return false;
        post(payload.size() + tasks.size() * 5, [&](::Frame::Builder frame) {
            auto batch = frame.initResults();
            batch.setPeers(as_data(peers));
            batch.setTasks(as_data(tasks));
            batch.setAttempts(as_data(attempts));
            batch.setFunctions(as_data(functions));
            batch.setStatuses(as_data(statuses));
            batch.setDurationsNs(as_data(durations));
            batch.setEnds(as_data(ends));
            batch.setPayload(as_data(payload));
        });
        say_idle();
        return true;
    }

    // A result with an object of its own, which is kept until the scheduler has taken it.
    void say_large(Result result) {
        auto object = (std::uint64_t{(1 << 24) - 2} - result.peer) << 40 | ++slots_[result.peer].made;
        auto bytes = packed(result.payload);
        auto size = bytes.size();
        untaken_[object] = std::move(result);
        send_object(object, std::move(bytes), [this, object, size] {
            auto found = untaken_.find(object);
            if (found == untaken_.end()) return;
            const auto& said = found->second;
            auto payload = places_of(object, size, place_new | place_packed);
            post(512, [&](::Frame::Builder frame) {
                auto batch = frame.initResults();
                auto peer = said.peer, function = said.function;
                auto task = said.task, attempt = said.attempt, duration = said.duration_ns;
                auto status = static_cast<std::uint16_t>(said.status);
                auto end = static_cast<std::uint32_t>(payload.size());
                auto one = [](const auto& number) {
                    return capnp::Data::Reader(reinterpret_cast<const capnp::byte*>(&number), sizeof(number));
                };
                batch.setPeers(one(peer));
                batch.setTasks(one(task));
                batch.setAttempts(one(attempt));
                batch.setFunctions(one(function));
                batch.setFlags(one(flag_objects));
                batch.setStatuses(one(status));
                batch.setDurationsNs(one(duration));
                batch.setEnds(one(end));
                batch.setPayload(as_data(payload));
            });
            say_idle();
        });
    }

    // Of workers that have answered what a scheduler before this one had given them.
    void say_idle() {
        std::vector<std::pair<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>>> ended;
        {
            std::lock_guard lock(mutex_);
            if (!results_.empty()) return;
            ended.swap(survived_);
        }
        if (ended.empty()) return;
        std::string peers, tasks, attempts;
        for (const auto& [peer, what] : ended) {
            put(peers, peer);
            put(tasks, what.first);
            put(attempts, what.second);
        }
        post(256, [&](::Frame::Builder frame) {
            auto withdrawn = frame.initWithdrawn();
            withdrawn.setPeers(as_data(peers));
            withdrawn.setTasks(as_data(tasks));
            withdrawn.setAttempts(as_data(attempts));
        });
    }

    // Say that nothing more is wanted; once all that has begun is answered, that the workers are gone.
    void leave() {
        if (!is_leaving_) {
            is_leaving_ = true;
            std::string peers;
            for (std::uint32_t peer = 0; peer < slots_.size(); ++peer) put(peers, peer);
            post(256, [&](::Frame::Builder frame) { frame.initLeaving().setPeers(as_data(peers)); });
        }
        if (has_left_ || !untaken_.empty()) return;
        {
            std::lock_guard lock(mutex_);
            if (!results_.empty()) return;
            for (auto& slot : slots_)
                if (slot.running || !slot.waiting.empty()) return;
        }
        for (std::uint32_t peer = 0; peer < slots_.size(); ++peer)
            post(64, [&](::Frame::Builder frame) { frame.initLeft().setPeer(peer); });
        has_left_ = true;
    }

    // a slot's thread

    void serve(std::uint32_t peer) {
        std::unique_lock lock(mutex_);
        auto& slot = slots_[peer];
        for (;;) {
            has_task_.wait(lock, [&] { return is_over_ || !slot.waiting.empty(); });
            if (is_over_) return;
            slot.running = std::move(slot.waiting.front());
            slot.waiting.pop_front();
            slot.is_wanted = true;
            slot.is_survivor = false;
            auto name = slot.functions.find(slot.running->function);
            std::string called = name == slot.functions.end() ? "" : name->second;
            lock.unlock();
            auto begin = Clock::now();
            auto [status, payload] = call(called, *slot.running);
            auto duration = Clock::now() - begin;
            lock.lock();
            auto& task = *slot.running;
            if (!slot.is_wanted) {
                status = stopped;
                payload.clear();
            } else if (task.limit_ms && duration > std::chrono::milliseconds(task.limit_ms)) {
                status = raised;
                payload = failure("scaler.exceptions.TaskTimeoutError",
                                  called + " ran longer than its limit of " + std::to_string(task.limit_ms) +
                                      " ms, and a worker in C++ cannot stop what runs");
            }
            bool was_empty = results_.empty();
            results_.push_back({peer, task.task, task.attempt, task.function, status,
                                static_cast<std::uint64_t>(std::chrono::nanoseconds(duration).count()),
                                std::move(payload)});
            if (slot.is_survivor) survived_.push_back({peer, {task.task, task.attempt}});
            slot.running.reset();
            if (was_empty) ring();
        }
    }

    std::pair<Status, std::string> call(const std::string& name, const Task& task) {
        if (!task.trouble.empty()) return {unreadable, failure("scaler::Error", task.trouble)};
        auto found = served_.find(name);
        if (found == served_.end())
            return {unreadable, failure("scaler::Error", name.empty()
                                                             ? "a worker in C++ runs functions that have names"
                                                             : "this worker does not serve " + name)};
        try {
            auto read = Json::parse(task.payload);
            Arguments given{Json::array(), Json::object()};
            if (read.is_object()) {
                given.positional = read.value("args", Json::array());
                given.keywords = read.value("kwargs", Json::object());
            } else {
                given.positional = std::move(read);
            }
            return {ok, found->second(given).dump()};
        } catch (const std::exception& error) {
            return {raised, failure(type_name(error), error.what())};
        } catch (...) {
            return {raised, failure("unknown", "something was thrown that is no std::exception")};
        }
    }

    std::map<std::string, Worker::Function> served_;
    std::mutex mutex_;
    std::condition_variable has_task_;
    std::vector<Slot> slots_;
    std::deque<Result> results_;
    std::vector<std::pair<std::uint32_t, std::pair<std::uint64_t, std::uint64_t>>> survived_;
    std::unordered_map<std::uint64_t, Result> untaken_;  // by the object of each
    const std::string name_;
    std::atomic<bool> is_stopping_ = false;
    bool is_leaving_ = false, has_left_ = false, is_over_ = false;
    std::string trouble_;
};

}  // namespace detail

Worker::Worker(const Connection& where, unsigned slots, const std::string& name)
    : session_(std::make_shared<detail::WorkerSession>(where, slots, name)) {}

Worker::~Worker() = default;

void Worker::add(const std::string& name, Function function) { session_->add(name, std::move(function)); }

void Worker::run() { session_->run(); }

void Worker::stop() noexcept { session_->stop(); }

}  // namespace scaler
