#include "shared.h"

#include <cstdint>

namespace emulator {

namespace {

// What shared memory holds before anything is written: NaN, read as float or double.
constexpr unsigned char POISON = 0xff;

std::string number(long long value) { return std::to_string(value); }

}  // namespace

Shared::Shared(int bytes) : memory(bytes, POISON), cells((bytes + GRANULE - 1) / GRANULE) {}

bool Shared::contains(const void* place, int bytes) const {
    uintptr_t start = (uintptr_t)memory.data(), at = (uintptr_t)place;
    return at >= start && at + bytes <= start + memory.size();
}

std::string Shared::touch(
    const void* place, int bytes, Access access, const Moment& now, const std::vector<unsigned>& seen
) {
    return each(place, bytes, [&](Cell& cell) -> std::string {
        if (cell.arrival.barrier != Arrival::NONE) {
            if (seen[cell.arrival.barrier] <= cell.arrival.phase) return "where a copy may still be arriving";
        } else if (cell.writer.thread != NOBODY && !is_before(cell.writer, now)) {
            return "which thread " + number(cell.writer.thread) + " writes before the same barrier";
        }
        if (access == READ) {
            if (!cell.holds_something) return "which nobody wrote";
            note_reader(cell, now);
            return "";
        }
        if (cell.reader.thread != NOBODY && !is_before(cell.reader, now)) {
            return cell.reader.thread == MANY ? "which others read before the same barrier"
                                              : "which thread " + number(cell.reader.thread) + " reads before the same barrier";
        }
        cell = Cell();
        cell.holds_something = true;
        cell.writer = now;
        return "";
    });
}

std::string Shared::expect(
    const void* place, int bytes, const Moment& now, const std::vector<unsigned>& fences, Arrival arrival
) {
    return each(place, bytes, [&](Cell& cell) -> std::string {
        if (cell.writer.thread != NOBODY && !is_before(cell.writer, now)) return "which a thread still writes";
        if (cell.writer.thread != NOBODY && fences[cell.writer.thread] <= cell.writer.fences) {
            return "which thread " + number(cell.writer.thread) + " has not handed to the copy engine";
        }
        if (cell.reader.thread != NOBODY && !is_before(cell.reader, now)) return "which a thread still reads";
        cell = Cell();
        cell.holds_something = true;
        cell.arrival = arrival;
        return "";
    });
}

std::string Shared::hand_over(
    const void* place, int bytes, const Moment& now, const std::vector<unsigned>& fences
) {
    return each(place, bytes, [&](Cell& cell) -> std::string {
        if (!cell.holds_something) return "which nobody wrote";
        if (cell.writer.thread == NOBODY) return "";
        if (!is_before(cell.writer, now)) return "which thread " + number(cell.writer.thread) + " writes before the same barrier";
        if (fences[cell.writer.thread] <= cell.writer.fences) {
            return "which thread " + number(cell.writer.thread) + " has not handed to the copy engine";
        }
        note_reader(cell, now);
        return "";
    });
}

std::string Shared::refuse(const void* place, int bytes) const {
    if (!contains(place, bytes)) return "of " + number(memory.size());
    if (((uintptr_t)place - (uintptr_t)memory.data()) % (bytes < 16 ? bytes : 16) != 0) {
        return "not aligned to " + number(bytes < 16 ? bytes : 16);
    }
    return "";
}

// One reader is remembered exactly; of several, that they are several, at the latest moment
// and in which block, if it is one.
void Shared::note_reader(Cell& cell, const Moment& now) {
    constexpr int SEVERAL_BLOCKS = -1;
    bool alone = cell.reader.thread == NOBODY || is_before(cell.reader, now);
    int block = alone || cell.reader.block == now.block ? now.block : SEVERAL_BLOCKS;
    cell.reader = now;
    if (!alone) cell.reader.thread = MANY;
    cell.reader.block = block;
}

template <class Visit> std::string Shared::each(const void* place, int bytes, Visit visit) {
    std::string fault = refuse(place, bytes);
    uintptr_t offset = (uintptr_t)place - (uintptr_t)memory.data();
    for (uintptr_t i = offset / GRANULE; fault.empty() && i <= (offset + bytes - 1) / GRANULE; i++) {
        fault = visit(cells[i]);
    }
    return fault.empty() ? fault : "shared memory at byte " + number((intptr_t)offset) + ", " + fault;
}

}  // namespace emulator
