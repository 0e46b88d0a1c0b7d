#include "keys.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace scaler::detail {

namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

void check_owner(const fs::path& path, bool is_secret) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0)
        throw ConnectionError("there is no " + path.string() + ": `scaler_keys FOLDER` makes keys");
    if (environment("SCALER_KEYS_UNCHECKED") == "1") return;
    if (status.st_uid != geteuid() && status.st_uid != 0)
        throw ConnectionError(path.string() + " belongs to another user, who could change it: make keys of your own");
    if (status.st_mode & (is_secret ? 077 : 022))
        throw ConnectionError(path.string() + " is open to others: chmod " + (S_ISDIR(status.st_mode) ? "700" : "600") +
                              " it, or set SCALER_KEYS_UNCHECKED=1 if something else protects it");
}

// The value of a line `name = "value"`.
std::string read_key(const fs::path& path, const std::string& name, bool is_secret) {
    check_owner(path, is_secret);
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string word, equals, value;
        if (words >> word >> equals >> value && word == name && equals == "=" && value.size() == 42)
            return value.substr(1, 40);
    }
    throw ConnectionError(path.string() + " has no whole " + name + " key: `scaler_keys FOLDER` makes keys");
}

Keys from_folder(const fs::path& folder, const std::string& role) {
    check_owner(folder, true);
    return {read_key(folder / "scheduler.pub", "public", false), read_key(folder / (role + ".key"), "public", true),
            read_key(folder / (role + ".key"), "secret", true)};
}

std::vector<fs::path> connection_folders() {
    if (auto chosen = environment("SCALER_CONNECTIONS"); !chosen.empty()) return {chosen};
    std::vector<fs::path> folders;
    if (auto runtime = environment("XDG_RUNTIME_DIR"); !runtime.empty()) folders.push_back(fs::path(runtime) / "scaler");
    if (auto home = environment("HOME"); !home.empty()) folders.push_back(fs::path(home) / ".scaler");
    folders.push_back(fs::temp_directory_path() / ("scaler-" + std::to_string(geteuid())));
    return folders;
}

bool is_loopback(const std::string& address) {
    return address.starts_with("tcp://127.") || address.starts_with("tcp://localhost:") ||
           address.starts_with("tcp://[::1]:") || address.starts_with("ipc://");
}

std::string port_of(const std::string& address) { return address.substr(address.rfind(':')); }

// What a living scheduler's file says; null if it is no such file.
Json read_connection(const fs::path& path) {
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return nullptr;
    struct stat status {};
    bool is_ours = fstat(file, &status) == 0 && status.st_uid == geteuid() && !(status.st_mode & 077);
    bool lives = flock(file, LOCK_SH | LOCK_NB) != 0;  // the scheduler holds it
    std::string text(65536, '\0');
    ssize_t size = is_ours && lives ? read(file, text.data(), text.size()) : 0;
    close(file);
    text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return Json::parse(text, nullptr, false);
}

std::optional<Keys> from_connection_file(const std::string& address, const std::string& role) {
    for (const auto& folder : connection_folders()) {
        std::error_code trouble;
        for (const auto& entry : fs::directory_iterator(folder, trouble)) {
            if (entry.path().extension() != ".json") continue;
            auto said = read_connection(entry.path());
            if (!said.is_object() || said.value("version", 0) != 1) continue;
            auto there = said.value("address", "");
            if (there != address && !(is_loopback(there) && there.starts_with("tcp") && address.starts_with("tcp") &&
                                      port_of(there) == port_of(address)))
                continue;
            if (auto keys = said.value("keys_folder", ""); !keys.empty()) {
                if (!fs::exists(fs::path(keys) / (role + ".key"))) return std::nullopt;
                return from_folder(keys, role);
            }
            auto scheduler = said.value("scheduler_key", "");
            auto pair = said.value("pairs", Json::object()).value(role, Json::array());
            if (scheduler.empty() || pair.size() != 2) return std::nullopt;
            return Keys{scheduler, pair[0].get<std::string>(), pair[1].get<std::string>()};
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<Keys> find_keys(const Connection& where, const std::string& role) {
    auto folder = where.keys.empty() ? environment("SCALER_KEYS") : where.keys;
    if (!folder.empty()) return from_folder(folder, role);
    return is_loopback(where.address) ? from_connection_file(where.address, role) : std::nullopt;
}

}  // namespace scaler::detail
