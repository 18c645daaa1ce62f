// Runs recorded launches in a separate program, so that a sanitizer can be built into it: AddressSanitizer with
// UndefinedBehaviorSanitizer, or ThreadSanitizer. Every array gets its own memory.
#include "emulator.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

extern void (*const kernels[])(void**);

namespace {

template <typename T>
bool read(std::FILE* file, T& value) { return std::fread(&value, sizeof(T), 1, file) == 1; }

struct Array {
    uint64_t recorded, size;  // where it was
    char* here;
};

std::vector<char> bytes(std::FILE* file, uint64_t size) {
    std::vector<char> content(size);
    if (size && std::fread(content.data(), size, 1, file) != 1) std::exit(3);
    return content;
}

bool failed = false;

}  // namespace

int main(int count, char** arguments) {
    std::FILE* file = count == 2 ? std::fopen(arguments[1], "rb") : nullptr;
    if (!file) return 3;
    int launches = 0;
    struct {
        int32_t kernel, schedule, arrays, parameters;
        uint32_t grid[3], block[3];
        uint64_t shared_bytes, seed;
    } head;
    while (read(file, head)) {
        std::vector<Array> arrays(head.arrays);
        for (Array& a : arrays) {
            if (!read(file, a.recorded) || !read(file, a.size)) return 3;
            a.here = static_cast<char*>(std::malloc(a.size));
            if (a.size && std::fread(a.here, a.size, 1, file) != 1) return 3;
        }
        std::vector<std::vector<char>> parameters(head.parameters);
        std::vector<void*> pointers;
        for (auto& p : parameters) {
            uint64_t size;
            if (!read(file, size)) return 3;
            p = bytes(file, size);
            // An address of an array, wherever it stands in a struct, becomes the new one.
            for (uint64_t at = 0; at + 8 <= size; at += 8) {
                uint64_t word;
                std::memcpy(&word, p.data() + at, 8);
                for (const Array& a : arrays)
                    if (word >= a.recorded && word < a.recorded + a.size) {
                        const char* moved = a.here + (word - a.recorded);
                        std::memcpy(p.data() + at, &moved, 8);
                        break;
                    }
            }
            pointers.push_back(p.data());
        }
        emulator::Launch what{
            {head.grid[0], head.grid[1], head.grid[2]},
            {head.block[0], head.block[1], head.block[2]},
            size_t(head.shared_bytes),
            pointers.data(),
            emulator::Schedule(head.schedule),
            head.seed,
            "",
            0,
            nullptr,
            0,
            [](const char* message) { std::fprintf(stderr, "%s\n", message), failed = true; },
            [](emulator::Site, const char*) {},
        };
        emulator::launch(what, kernels[head.kernel]);
        for (Array& a : arrays) std::free(a.here);
        ++launches;
    }
    std::printf("%d launches\n", launches);
    return failed;
}
