// A worker in C++ that serves what tests call: serving ADDRESS KEYS SLOTS. It ends on SIGTERM.
#include <scaler/worker.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

namespace {

scaler::Worker* serving = nullptr;

struct TooSmall : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace

int main(int count, char** words) {
    if (count < 4) return 2;
    std::atomic<int> running = 0;
    try {
        scaler::Worker worker({words[1], words[2], 10}, static_cast<unsigned>(std::stoul(words[3])));
        worker.serve("echo", [](const scaler::Arguments& given) {
            return scaler::Json{{"args", given.positional}, {"kwargs", given.keywords}};
        });
        worker.serve("price", [](double spot, double strike) { return spot > strike ? spot - strike : 0.0; });
        worker.serve("root", [](double x) {
            if (x < 0) throw TooSmall("no root of " + std::to_string(x));
            return x / 2;
        });
        worker.serve("throws", [](int value) -> int { throw value; });
        worker.serve("repeat", [](const std::string& text, std::size_t times) {
            std::string whole;
            for (std::size_t i = 0; i < times; ++i) whole += text;
            return whole;
        });
        worker.serve("length", [](const std::string& text) { return text.size(); });
        worker.serve("sleep", [&](double seconds) {
            ++running;
            std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
            return running--;  // how many ran at that time
        });
        worker.serve("append", [](const std::string& path, double seconds) {
            std::ofstream(path, std::ios::app) << "begun\n";
            std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
            std::ofstream(path, std::ios::app) << "done\n";
        });
        serving = &worker;
        std::signal(SIGTERM, [](int) { serving->stop(); });
        worker.run();
    } catch (const scaler::Error& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
    return 0;
}
