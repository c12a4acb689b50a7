"""A program of `torch.export` as a file, and what the file does once it is opened again."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from plait.errors import ConfigError

Format = Literal["onnx", "torch"]
Run = Callable[..., Tensor]
About = Mapping[str, Any]  # in terms of JSON
NOTHING: About = MappingProxyType({})
ENDINGS: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
NAMES = "modalities.json"  # in a .pt2 file: whose clips it takes, in order
ABOUT = "model.json"  # in a .pt2 file: what clips and scores are; in ONNX each of it is metadata
PROBABILITIES = "probabilities"  # in an ONNX file: what comes out
ONNX_BYTES = 1536 * 2**20  # of larger weights torch makes a second file


def to_torch(program: ExportedProgram, file: Path, modalities: Sequence[str], about: About = NOTHING) -> Run:
    """Write a program as `torch.export` does; what the file does.

    The clips it was traced on and the places of the code that it was traced from stay here; names of its
    modules and classes go along.
    """
    program.example_inputs = None
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    content = io.BytesIO()
    notes = {NAMES: json.dumps(list(modalities))}
    if about:
        notes[ABOUT] = json.dumps(dict(about))
    torch.export.save(program, content, extra_files=notes)
    file.write_bytes(content.getbuffer())
    return torch.export.load(file).module()


def to_onnx(program: ExportedProgram, file: Path, modalities: Sequence[str], about: About = NOTHING) -> Run:
    """Write a program as ONNX; what the file does in onnxruntime, on the CPU and one thread.

    As in `to_torch`, no places of code are in it.

    Raises:
        ConfigError: `plait[export]` is not installed, or the weights are too large.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript.rewriter
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'plait[export]'") from error
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > ONNX_BYTES:
        got = f"weights of {size / 1e9:.1f} GB"
        raise ConfigError(
            f"{file.name}: {got}, expected at most {ONNX_BYTES / 1e9:.1f} GB; a .pt2 file holds more"
        )
    written = torch.onnx.export(
        program,
        output_names=[PROBABILITIES],
        dynamic_shapes=tuple({0: "batch"} for _ in program.graph_signature.user_inputs),
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    onnxscript.rewriter.rewrite(written.model, [_by_columns()])
    graph = written.model.graph
    for value in [value for node in graph for value in node.outputs] + list(graph.initializers.values()):
        if value.name in modalities:
            value.name = f"{value.name}.inner"  # no modality has a dot in its name
    for node in graph:
        node.metadata_props.clear()
    for value, name in zip(graph.inputs, modalities, strict=False):
        value.name = name
    written.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    written.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Any) -> Tensor:
        tensors = [leaf.contiguous().numpy() for leaf in tree_leaves(inputs)]
        return torch.from_numpy(session.run(None, dict(zip(names, tensors, strict=True)))[0])

    return run


def _by_columns() -> Any:
    """A rule of onnxscript's: products with a vector become products with a column.

    Where the matrix is a transpose, onnxruntime 1.32 fuses the two (`FusedMatMul` with `transA`), and of a
    vector the fused product is wrong.
    """
    from onnxscript.rewriter import pattern

    def product(op: Any, matrix: Any, vector: Any) -> Any:
        return op.MatMul(matrix, vector)

    def by_column(op: Any, matrix: Any, vector: Any) -> Any:
        last = op.Constant(value_ints=[-1])
        return op.Squeeze(op.MatMul(matrix, op.Unsqueeze(vector, last)), last)

    def is_vector(context: Any, vector: Any, **_: Any) -> bool:
        return vector.shape is not None and len(vector.shape) == 1

    return pattern.RewriteRule(product, by_column, is_vector)
