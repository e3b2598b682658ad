"""Every torch function whose rows are known, by its name; any other one loses them visibly.

Names are those of the functions without the underscores of methods, operators and in-place forms.
"""

from typing import Final

import torch

from traceprop_engine.tensors import indexing, products
from traceprop_engine.tensors import moving as moved
from traceprop_engine.tensors import row_wise as by_row
from traceprop_engine.tensors.calls import Rule
from traceprop_engine.tensors.moving import Moves

_ELEMENTWISE = """
abs absolute acos acosh add addcdiv addcmul alpha_dropout angle arccos arccosh arcsin arcsinh
arctan arctan2 arctanh asin asinh atan atan2 atanh bernoulli bfloat16 bitwise_and
bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bool byte ceil celu char
clamp clamp_max clamp_min clip clone complex conj conj_physical contiguous copysign cos cosh cpu
cuda deg2rad detach detach_ digamma div divide double dropout elu eq erf erfc erfinv exp exp2
expm1 feature_alpha_dropout fix float float_power floor floor_divide fmax fmin fmod frac frexp ge
gelu greater greater_equal gt half hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0
igamma igammac int isclose isfinite isinf isnan isneginf isposinf isreal ldexp le leaky_relu lerp
less less_equal lgamma log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not
logical_or logical_xor logit logsigmoid long lshift lt maximum minimum mish mul multiply mvlgamma
nan_to_num ne neg negative nextafter not_equal pin_memory polar polygamma positive pow rad2deg
real imag reciprocal relu relu6 remainder resolve_conj resolve_neg round rrelu rshift rsqrt rsub
selu sgn short sigmoid sign signbit silu sin sinc sinh softplus softshrink softsign special_entr
special_erf special_erfc special_erfcx special_exp2 special_expit special_expm1 special_gammaln
special_log1p special_log_ndtr special_logit special_ndtr special_ndtri special_xlog1py
special_xlogy sqrt square sub subtract tan tanh tanhshrink threshold true_divide trunc xlogy
get:real get:imag
"""

_REDUCED = """
all amax amin aminmax any argmax argmin logsumexp max mean median min nanmean
nanmedian nansum prod std std_mean sum var var_mean
"""

_LOSSES = """
binary_cross_entropy binary_cross_entropy_with_logits gaussian_nll_loss huber_loss kl_div l1_loss
mse_loss poisson_nll_loss smooth_l1_loss soft_margin_loss
"""

_IN_PLACE_MOVES = """
addmm addmv baddbmm copy cumprod cumsum index_add index_copy index_fill index_put masked_fill
masked_scatter setitem tril triu
"""

_BATCHED = {
    3: "conv1d conv_transpose1d max_pool1d avg_pool1d adaptive_avg_pool1d adaptive_max_pool1d "
    "dropout1d instance_norm local_response_norm lp_pool1d",
    4: "conv2d conv_transpose2d max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d "
    "dropout2d feature_dropout pixel_shuffle pixel_unshuffle lp_pool2d fold",
    5: "conv3d conv_transpose3d max_pool3d avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d "
    "dropout3d",
    2: "group_norm",
    1: "bucketize",
}

_INDEX: Final = Moves(index=(2, "index"))

_NUMBERS = """
axis chunks dim dims index length shifts split_size split_size_or_sections split_sizes start
"""

_FIRST_ALONE: Final = Moves(index=(1, 2, 3, *_NUMBERS.split()))
"""Only elements of the first argument move; the others are numbers, in tensors or not."""

_MOVED = """
adjoint broadcast_to column_stack diag diag_embed diagonal dstack expand expand_as fliplr flipud
get:H get:T get:mH get:mT moveaxis movedim permute repeat rot90 swapaxes swapdims t tile transpose
tril triu
"""

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), by_row.elementwise),
    **dict.fromkeys(_REDUCED.split(), by_row.along(1, "reduce")),
    **dict.fromkeys(_LOSSES.split(), by_row.loss),
    **dict.fromkeys(
        ["cross_entropy", "nll_loss", "multilabel_soft_margin_loss"], by_row.loss_of_classes
    ),
    **{name: by_row.batched(axes) for axes, names in _BATCHED.items() for name in names.split()},
    **dict.fromkeys(["to", "type", "type_as"], by_row.converted),
    "copy": by_row.copied,
    "batch_norm": by_row.batch_norm,
    **dict.fromkeys(["layer_norm", "rms_norm"], by_row.layer_norm),
    "one_hot": by_row.first_axis((0,)),
    "embedding": by_row.embedding,
    "prelu": by_row.batched(2),
    "isin": by_row.batched(1),
    "searchsorted": by_row.batched(1, of=(1,)),
    "scaled_dot_product_attention": by_row.batched(3, of=(0, 1, 2)),
    "bilinear": by_row.batched(2, of=(0, 1)),
    "cdist": by_row.batched(2),
    "bincount": by_row.over_everything,
    "histc": by_row.over_everything,
    "trace": by_row.over_everything,
    "dot": by_row.over_everything,
    "vdot": by_row.over_everything,
    "cov": by_row.over_everything,
    "corrcoef": by_row.over_everything,
    "dist": by_row.over_everything,
    # Along axes.
    "cosine_similarity": by_row.pairwise(2, default=1),
    "count_nonzero": by_row.along(1, "reduce", rest=True),
    "mode": by_row.along(1, "reduce", default=-1),
    "kthvalue": by_row.along(2, "reduce", default=-1),
    "norm": by_row.along(2, "reduce"),
    "linalg_norm": by_row.along(2, "reduce"),
    "linalg_vector_norm": by_row.along(2, "reduce"),
    **dict.fromkeys(["quantile", "nanquantile"], by_row.quantiles),
    "softmax": by_row.along(1, "normalise"),
    "log_softmax": by_row.along(1, "normalise"),
    "softmin": by_row.along(1, "normalise"),
    "special_softmax": by_row.along(1, "normalise"),
    "special_log_softmax": by_row.along(1, "normalise"),
    "normalize": by_row.along(2, "normalise", default=1),
    "glu": by_row.along(1, "reduce", default=-1),
    **dict.fromkeys(
        ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"], by_row.along(1, "cumulate")
    ),
    # Products.
    **dict.fromkeys(["matmul", "mm", "mv", "bmm"], products.product(0)),
    **dict.fromkeys(["addmm", "addmv", "baddbmm"], products.product(1)),
    "rmatmul": products.product(0, reflected=True),
    "linear": products.linear,
    "inner": products.inner,
    **dict.fromkeys(["outer", "ger"], products.outer),
    "einsum": products.einsum,
    # Elements that move.
    "getitem": indexing.item,
    "setitem": indexing.item_put,
    **dict.fromkeys(["cat", "concat", "concatenate"], moved.concatenated),
    "hstack": moved.piled(1),
    **dict.fromkeys(["vstack", "row_stack"], moved.piled(0)),
    "stack": moved.stacked_tensors,
    "where": moved.chosen_between,
    **dict.fromkeys(["nonzero", "argwhere"], moved.positions_found),
    "sort": moved.ordered(1),
    "argsort": moved.ordered(1, values=False),
    "topk": moved.ordered(2),
    "index_add": moved.added_by_index,
    "index_select": moved.moving_along(1, _INDEX),
    "narrow": moved.moving_along(1, _FIRST_ALONE),
    "select": moved.moving_along(1, _FIRST_ALONE),
    "unbind": moved.moving_along(1, _FIRST_ALONE, default=0),
    "chunk": moved.moving_along(2, _FIRST_ALONE, default=0),
    "split": moved.moving_along(2, _FIRST_ALONE, default=0),
    "split_with_sizes": moved.moving_along(2, _FIRST_ALONE, default=0),
    "tensor_split": moved.moving_along(2, Moves(index=(1,)), default=0),
    "flip": moved.moving_along(1, _FIRST_ALONE, "dims", rest=True),
    "roll": moved.moving_along(2, _FIRST_ALONE, "dims"),
    "repeat_interleave": moved.moving_along(2, Moves(index=(1, "repeats"))),
    "gather": moved.moving(_INDEX),
    "take_along_dim": moved.moving(Moves(index=(1, "indices"))),
    "take": moved.moving(Moves(index=(1, "index"))),
    "masked_select": moved.moving(Moves(index=(1, "mask"))),
    "masked_fill": moved.deciding(Moves(index=(1, "mask"), values=(2, "value"))),
    "masked_scatter": moved.moving(Moves(index=(1, "mask"))),
    "index_copy": moved.moving(_INDEX),
    "index_fill": moved.moving(Moves(index=(2, "index"), values=(3, "value"))),
    "index_put": moved.put_by_index,
    "select_scatter": moved.moving(Moves()),
    "slice_scatter": moved.moving(Moves()),
    **dict.fromkeys(_MOVED.split(), moved.moving(Moves())),
    "pad": moved.moving(Moves(values=(3, "value"))),
    **dict.fromkeys(
        ["reshape", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze", "reshape_as"],
        moved.reshaping(Moves()),
    ),
    "view": moved.reshaping(Moves(instead=torch.Tensor.reshape)),
    "view_as": moved.reshaping(Moves(instead=torch.Tensor.reshape_as)),
}

IN_PLACE_MOVES: Final = frozenset(_IN_PLACE_MOVES.split())
"""Functions beside the elementwise ones whose in-place forms keep the shape of their tensor."""

ELEMENTWISE: Final = frozenset(_ELEMENTWISE.split())
