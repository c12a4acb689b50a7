"""Sensors' own files, written byte for byte as their devices, apps and recorders lay them out."""

import io
import json
import struct
import zipfile
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import av
import numpy as np

START = datetime(2024, 3, 5, 10, 0, 0, tzinfo=UTC)
START_S = START.timestamp()


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as out:
        for name, text in files.items():
            out.writestr(name, text)
    return content.getvalue()


def cwa(counts, *, gyro=None, drift_s=0.0, rate_hz=100):
    """Blocks of an AX3 (ten bits an axis) or, with `gyro`, of an AX6; 256 counts are one g."""
    per_block = 120 if gyro is None else 40
    blocks = [b"MD" + struct.pack("<HBH", 1020, 0, 4711) + b"\xff" * (1024 - 7)]
    for number, first in enumerate(range(0, len(counts), per_block)):
        some = counts[first : first + per_block]
        begins_s = first / rate_hz * (1 + drift_s)
        whole_s = int(np.ceil(begins_s))
        at = START + timedelta(seconds=whole_s)
        stamp = 0
        parts = (at.year - 2000, at.month, at.day, at.hour, at.minute, at.second)
        for part, bits in zip(parts, (6, 4, 5, 5, 6, 6), strict=True):
            stamp = stamp << bits | part
        offset = round((whole_s - begins_s) * rate_hz)
        head = struct.pack(
            "<2sHHIIIHHBBBBhH", b"AX", 508, 0, 1, number, stamp, 2 << 10, 300, 0, 200,
            0x40 | {100: 10, 50: 9}[rate_hz], 0x30 if gyro is None else 0x62, offset, len(some),
        )  # fmt: skip
        if gyro is None:
            words = [(z & 1023) << 20 | (y & 1023) << 10 | x & 1023 for x, y, z in some.tolist()]
            data = struct.pack(f"<{len(words)}I", *words)
        else:
            data = np.hstack([gyro[first : first + per_block], some]).astype("<i2").tobytes()
        body = head + data.ljust(480, b"\0")
        total = sum(struct.unpack("<255H", body)) & 0xFFFF
        blocks.append(body + struct.pack("<H", -total & 0xFFFF))
    return b"".join(blocks)


def gt3x(counts, *, rate_hz=30, scale=256.0, asleep=()):
    """Packets of a second each with three 16-bit numbers a reading; seconds `asleep` have none."""
    ticks = int(START_S * 10_000_000) + 621_355_968_000_000_000
    info = (
        f"Serial Number: TAS1D48140206\nDevice Type: Link\nSample Rate: {rate_hz}\nStart Date: {ticks}\n"
        f"Acceleration Scale: {scale}\nAcceleration Min: -8.0\nAcceleration Max: 8.0\n"
    )
    log = b""
    for second, first in enumerate(range(0, len(counts), rate_hz)):
        payload = b"" if second in asleep else counts[first : first + rate_hz].astype("<i2").tobytes()
        packet = struct.pack("<BBIH", 0x1E, 26, int(START_S) + second, len(payload)) + payload
        log += packet + bytes([~int(np.bitwise_xor.reduce(np.frombuffer(packet, np.uint8))) & 255])
    return zipped({"info.txt": info, "log.bin": log})


def e4(acc, bvp, beats=((2.5, 0.8), (3.3, 0.78125))):
    """The files of a session by name."""
    start = f"{START_S:.6f}"
    rows = "\r\n".join(", ".join(map(str, row)) for row in acc.tolist())
    return {
        "ACC.csv": f"{start}, {start}, {start}\r\n32.000000, 32.000000, 32.000000\r\n{rows}\r\n",
        "BVP.csv": f"{start}\n64.000000\n" + "".join(f"{value:.2f}\n" for value in bvp),
        "EDA.csv": f"{start}\n4.000000\n0.000000\n0.120000\n0.130000\n",
        "TEMP.csv": f"{start}\n4.000000\n31.25\n31.27\n",
        "HR.csv": f"{START_S + 10:.6f}\n1.000000\n71.00\n72.00\n",
        "IBI.csv": f"{start}, IBI\n" + "".join(f"{at},{beat}\n" for at, beat in beats),
        "tags.csv": f"{START_S + 4:.2f}\n",
        "info.txt": ".csv files in this archive are in the following format:\nThe first row is the start.\n",
    }


def shimmer(acc, gyr, *, device="Shimmer_68B7", rate_hz=51.2, unit="m/(s^2)", separator="\t"):
    columns = [f"{device}_Timestamp_Unix_CAL"]
    columns += [f"{device}_Accel_LN_{axis}_CAL" for axis in "XYZ"] + [
        f"{device}_Gyro_{axis}_CAL" for axis in "XYZ"
    ]
    units = ["ms", *[unit] * 3, *["deg/s"] * 3]
    lines = [f'"sep={separator}"', separator.join([*columns, ""]), separator.join([*units, ""])]
    for number, row in enumerate(np.hstack([acc, gyr]).tolist()):
        cells = [f"{START_S * 1000 + 1000 * number / rate_hz:.3f}", *(f"{value:.6f}" for value in row)]
        lines.append(separator.join([*cells, ""]))
    return "\n".join(lines) + "\n"


def xsens(acc, quat, counters, *, rate_hz=100.0, newer=False):
    head = ["// Start Time: Unknown", f"// Update Rate: {rate_hz}Hz", "// Filter Profile: human (46.1)"]
    if newer:
        head = ["// General information: ", "//  MT Manager version: 2022.2.0 ", "// Coordinate system: ENU"]
    names = ["PacketCounter", "SampleTimeFine", "Year", "Month", "Day", "Second", "Acc_X", "Acc_Y", "Acc_Z"]
    names += [f"Quat_q{number}" for number in range(4)]
    none = ["NaN" if newer else ""] * 5
    lines = [*head, "\t".join(names)]
    for counter, a, q in zip(counters, acc.tolist(), quat.tolist(), strict=True):
        lines.append("\t".join([f"{counter:05d}", *none, *(f"{value:.6f}" for value in (*a, *q))]))
    return "\n".join(lines) + "\n"


def sensor_logger(acc, motion, *, platform="ios", standardised="false", rate_hz=100.0):
    """The tables of a recording by name; `motion` is acceleration of the watch."""
    times = [int(START_S) * 10**9 + round(10**9 * number / rate_hz) for number in range(len(acc))]
    rows = [
        f"{time},{(time - times[0]) / 1e9:.9f},{z!r},{y!r},{x!r}"
        for time, (x, y, z) in zip(times, acc.tolist(), strict=True)
    ]
    worn = [
        f"{time},{(time - times[0]) / 1e9:.9f},{x!r},{y!r},{z!r},0.5"
        for time, (x, y, z) in zip(times, motion.tolist(), strict=True)
    ]
    return {
        "Metadata.csv": "version,device name,recording time,recording timezone,platform,standardisation\n"
        f"3,Anna's phone,2024-03-05_10-00-00,Europe/Vienna,{platform},{standardised}\n",
        "Accelerometer.csv": "\n".join(["time,seconds_elapsed,z,y,x", *rows]) + "\n",
        "WristMotion.csv": "\n".join(
            ["time,seconds_elapsed,accelerationX,accelerationY,accelerationZ,rotationRateX", *worn]
        )
        + "\n",
        "HeartRate.csv": f"time,seconds_elapsed,bpm\n{times[0]},0,61\n{times[-1]},1,64\n",
        "Annotation.csv": "time,seconds_elapsed,text,millisecond_press_duration\n",
        "Location.csv": f"time,seconds_elapsed,latitude,longitude\n{times[0]},0,48.2,16.3\n",
    }


def klv(key, kind, size, content):
    """One item of GoPro's format."""
    repeat = len(content) // size
    letter = kind.encode() if kind else b"\0"
    return key.encode() + letter + struct.pack(">BH", size, repeat) + content + b"\0" * (-len(content) % 4)


def gpmf_packet(streams, *, device="HERO9 Black"):
    """A packet of a device with streams `(key, scale, ORIN or None, numbers (n, 3))`."""
    inner = klv("DVID", "L", 4, struct.pack(">I", 1)) + klv("DVNM", "c", 1, device.encode())
    for key, scale, orientation, numbers in streams:
        stream = klv("TSMP", "L", 4, struct.pack(">I", len(numbers)))
        if orientation:
            stream += klv("ORIN", "c", 1, orientation.encode())
        unit = "m/s²" if key == "ACCL" else "rad/s"
        stream += klv("SIUN", "c", len(unit), unit.encode("latin-1")) + klv(
            "SCAL", "s", 2, struct.pack(">h", scale)
        )
        stream += klv(key, "s", 6, numbers.astype(">i2").tobytes())
        inner += klv("STRM", "", 1, stream)
    return klv("DEVC", "", 1, inner)


def gopro(file, packets, *, step_s=1.001, fps=10, first_s=0.0):
    """A video with one packet of metadata each `step_s`, tagged `gpmd` as FFmpeg and GoPro do."""
    with av.open(str(file), "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        track = out.add_data_stream("bin_data")
        track.time_base = Fraction(1, 1000)
        for number in range(round(len(packets) * step_s * fps)):
            frame = av.VideoFrame.from_ndarray(
                np.full((32, 32, 3), 3 * number % 256, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(1000 * (number * step_s + first_s))
            packet.duration = round(1000 * step_s)
            packet.stream = track
            out.mux(packet)
    return file


def _chunk(tag, content):
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def xdf(streams):
    """Streams `(name, labels or None, rate, times, values, offsets)`; offsets are `(time, seconds)`.

    After those may come what tells streams of one name apart, the source.
    """
    content = b"XDF:" + _chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    for number, (name, labels, rate, _, values, _, *source) in enumerate(streams, 1):
        texts = isinstance(values[0], str)
        channels = "".join(f"<channel><label>{each}</label><unit>g</unit></channel>" for each in labels or ())
        header = (
            f"<?xml version='1.0'?><info><name>{name}</name><type>x</type>"
            f"<channel_count>{1 if texts else values.shape[1]}</channel_count>"
            f"<nominal_srate>{rate}</nominal_srate><source_id>{''.join(source)}</source_id>"
            f"<channel_format>{'string' if texts else 'float32'}</channel_format>"
            f"<desc><channels>{channels}</channels></desc></info>"
        )
        content += _chunk(2, struct.pack("<I", number) + header.encode())
    for number, (_, _, _, times, values, offsets, *_) in enumerate(streams, 1):
        for at, seconds in offsets:
            content += _chunk(4, struct.pack("<Idd", number, at, seconds))
        for first in range(0, len(times), 50):
            some = range(first, min(first + 50, len(times)))
            samples = b"\x01" + bytes([len(some)])
            for row in some:
                if isinstance(values[row], str):
                    data = b"\x01" + bytes([len(values[row])]) + values[row].encode()
                else:
                    data = np.asarray(values[row], "<f4").tobytes()
                samples += b"\x08" + struct.pack("<d", times[row]) + data
            content += _chunk(3, struct.pack("<I", number) + samples)
        content += _chunk(6, struct.pack("<I", number) + b"<?xml version='1.0'?><info></info>")
    return content


IMU = """std_msgs/Header header
geometry_msgs/Vector3 angular_velocity
geometry_msgs/Vector3 linear_acceleration
float64[9] linear_acceleration_covariance
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""


def mcap(acc, gyr, *, rate_hz=100.0, late_s=0.02, compression="zstd", stamped=True):
    """A ROS 2 log: `/imu` stamped when it was measured, and a topic of JSON, `/pressure`."""
    from mcap.writer import CompressionType, Writer
    from mcap_ros2._dynamic import serialize_dynamic

    content = io.BytesIO()
    writer = Writer(content, compression=CompressionType[compression.upper()], chunk_size=4096)
    writer.start()
    schema = writer.register_schema("sensor_msgs/msg/Imu", "ros2msg", IMU.encode())
    channel = writer.register_channel("/imu", "cdr", schema)
    plain = writer.register_channel("/pressure", "json", writer.register_schema("p", "jsonschema", b"{}"))
    other = writer.register_channel("/points", "protobuf", writer.register_schema("q", "protobuf", b"x"))
    encode = serialize_dynamic("sensor_msgs/msg/Imu", IMU)["sensor_msgs/msg/Imu"]
    for number, (a, w) in enumerate(zip(acc.tolist(), gyr.tolist(), strict=True)):
        at = int(START_S) * 10**9 + round(number * 1e9 / rate_hz)
        logged = at + round(late_s * 1e9) + (number % 3) * 1_000_000
        stamp = {"sec": at // 10**9, "nanosec": at % 10**9} if stamped else {"sec": 0, "nanosec": 0}
        message = {
            "header": {"stamp": stamp, "frame_id": "wrist"},
            "angular_velocity": dict(zip("xyz", w, strict=True)),
            "linear_acceleration": dict(zip("xyz", a, strict=True)),
            "linear_acceleration_covariance": [0.0] * 9,
        }
        writer.add_message(channel, logged, encode(message), logged)
        writer.add_message(
            plain, logged, json.dumps({"p": {"pa": 100_000 + number}, "unit": "Pa"}).encode(), logged
        )
        writer.add_message(other, logged, b"\x08\x01", logged)
    writer.finish()
    return content.getvalue()
