"""What every function of NumPy does to rows, in one table.

A function that stands in no row of it is followed by nobody: its result is visibly lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a function does to the rows of its arguments.

    Attributes:
        ROW_WISE: Each row of the result is computed from the same row of each argument.
        OF_FIRST: The same, of the argument that is named; the others are context of every row.
        SELECTING: Rows are picked or repeated.
        PERMUTING: All rows come back, in another order or shape.
        COMBINING: Rows of several arguments, or several rows of one, make a new one.
        REDUCING: A statistic along an axis; of each row, if rows do not lie on that axis.
        OF_ALL: Every value depends on all rows: a statistic.
        MATRICES: Works on the last two axes; of each row, if rows lie on an axis before those.
        WRITING: Changes its first argument.
        BLANK: A new array of the same shape, of no row.
        FACT: Tells of shapes, types and memory, of no value.
        LEAVING: Values go where nobody follows them, and are noted.
        UNSEEN: Takes no array, or takes it without asking the array; a result is plain.
        UNKNOWN: Nobody follows it: the rows of a result are visibly lost.
    """

    ROW_WISE = "row-wise"
    OF_FIRST = "row-wise in one argument"
    SELECTING = "selecting"
    PERMUTING = "permuting"
    COMBINING = "combining"
    REDUCING = "reducing"
    OF_ALL = "reducing all"
    MATRICES = "matrices"
    WRITING = "writing"
    BLANK = "blank"
    FACT = "fact"
    LEAVING = "leaving"
    UNSEEN = "unseen"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """How a function is followed.

    Attributes:
        name: Of the function, such as ``"np.linalg.inv"``.
        kind: What it does to rows.
        data: The parameters whose values it moves or reads row by row, where that matters.
    """

    name: str
    kind: Kind
    data: tuple[str, ...] = ()


# Name, or name:parameters; the parameters are what moves, or what is read row by row.
_TABLE: dict[str, dict[Kind, str]] = {
    "np": {
        Kind.ROW_WISE: """
            angle around astype busday_count busday_offset clip copy datetime_as_string fix i0 imag
            is_busday isclose iscomplex isneginf isposinf isreal nan_to_num ravel_multi_index real
            real_if_close round sinc unravel_index""",
        Kind.OF_FIRST: """
            digitize:x interp:x isin:element polyval:x searchsorted:v vander:x in1d:ar1""",
        Kind.SELECTING: """
            argwhere:a compress:a delete:arr diag:v diagonal:a extract:arr flatnonzero:a nonzero:a
            repeat:a resize:a take:a take_along_axis:arr tile:A array_split:ary split:ary
            hsplit:ary vsplit:ary dsplit:ary unstack:x tril:m triu:m""",
        Kind.PERMUTING: """
            atleast_1d:arys atleast_2d:arys atleast_3d:arys broadcast_arrays:args
            broadcast_to:array diagflat:v expand_dims:a flip:m fliplr:m flipud:m
            matrix_transpose:x moveaxis:a partition:a permute_dims:a ravel:a reshape:a roll:a
            rollaxis:a rot90:m sort:a squeeze:a swapaxes:a transpose:a""",
        Kind.COMBINING: """
            append:arr,values block:arrays choose:choices column_stack:tup concat:arrays
            concatenate:arrays cumprod:a cumsum:a cumulative_prod:x cumulative_sum:x diff:a
            dot:a,b dstack:tup einsum:operands hstack:tup inner:a,b insert:arr,values meshgrid:xi
            nancumprod:a nancumsum:a outer:a,b pad:array row_stack:tup select:choicelist,default
            stack:arrays unique:ar vstack:tup where:x,y""",
        Kind.REDUCING: """
            all:a amax:a amin:a any:a apply_along_axis:arr argmax:a argmin:a argpartition:a
            argsort:a average:a count_nonzero:a gradient:f max:a mean:a median:a min:a nanargmax:a
            nanargmin:a nanmax:a nanmean:a nanmedian:a nanmin:a nanpercentile:a nanprod:a
            nanquantile:a nanstd:a nansum:a nanvar:a packbits:a percentile:a prod:a ptp:a
            quantile:a std:a sum:a trapezoid:y unpackbits:a unwrap:p var:a""",
        Kind.OF_ALL: """
            allclose array_equal array_equiv bincount corrcoef cov histogram histogram2d
            histogram_bin_edges histogramdd lexsort poly polyfit roots trace vdot""",
        Kind.WRITING: "copyto fill_diagonal place put put_along_axis putmask",
        Kind.BLANK: "empty_like full_like ones_like zeros_like",
        Kind.FACT: """
            can_cast common_type diag_indices_from einsum_path iscomplexobj isrealobj
            may_share_memory min_scalar_type ndim result_type shape shares_memory size
            tril_indices_from triu_indices_from""",
        Kind.LEAVING: """
            array array2string array_repr array_str asanyarray asarray asarray_chkfinite
            ascontiguousarray asfortranarray require save savetxt savez savez_compressed""",
        Kind.UNSEEN: """
            arange asmatrix bartlett base_repr binary_repr blackman bmat broadcast_shapes
            datetime_data diag_indices empty eye format_float_positional format_float_scientific
            from_dlpack frombuffer fromfile fromfunction fromiter frompyfunc fromregex fromstring
            full genfromtxt get_include get_printoptions getbufsize geterr geterrcall hamming
            hanning identity indices info isdtype isfortran isscalar issubdtype iterable kaiser
            load loadtxt mask_indices mintypecode nested_iters ones printoptions promote_types
            set_printoptions setbufsize seterr seterrcall show_config show_runtime test tri
            tril_indices triu_indices typename zeros""",
        Kind.UNKNOWN: """
            apply_over_axes convolve correlate cross ediff1d geomspace intersect1d ix_
            kron linspace logspace piecewise polyadd polyder polydiv polyint polymul polysub
            setdiff1d setxor1d sort_complex tensordot trapz trim_zeros union1d unique_all
            unique_counts unique_inverse unique_values""",
    },
    "np.linalg": {
        Kind.PERMUTING: "matrix_transpose:x",
        Kind.SELECTING: "diagonal:x",
        Kind.REDUCING: "norm:x vector_norm:x",
        Kind.OF_ALL: "lstsq trace",
        Kind.MATRICES: """
            cholesky:a cond:x det:a eig:a eigh:a eigvals:a eigvalsh:a inv:a matrix_norm:x
            matrix_power:a matrix_rank:A pinv:a qr:a slogdet:a svd:a svdvals:x""",
        Kind.COMBINING: "matmul:x1,x2 outer:x1,x2 vecdot:x1,x2",
        Kind.UNSEEN: "test",
        Kind.UNKNOWN: "cross multi_dot solve tensordot tensorinv tensorsolve",
    },
    "np.fft": {
        Kind.REDUCING: """
            fft:a fft2:a fftn:a hfft:a ifft:a ifft2:a ifftn:a ihfft:a irfft:a irfft2:a irfftn:a
            rfft:a rfft2:a rfftn:a""",
        Kind.PERMUTING: "fftshift:x ifftshift:x",
        Kind.UNSEEN: "fftfreq rfftfreq test",
    },
    "np.strings": {
        Kind.ROW_WISE: """
            capitalize center count decode encode endswith expandtabs find index ljust lower lstrip
            mod multiply partition replace rfind rindex rjust rpartition rstrip slice startswith
            strip swapcase title translate upper zfill""",
    },
    "np.char": {
        Kind.ROW_WISE: """
            capitalize center count decode encode endswith equal expandtabs find greater
            greater_equal index join less less_equal ljust lower lstrip mod multiply not_equal
            partition replace rfind rindex rjust rpartition rsplit rstrip split splitlines
            startswith strip swapcase title translate upper zfill""",
        Kind.UNSEEN: "array asarray compare_chararrays",
    },
    "np.random": {
        Kind.WRITING: "shuffle",
        Kind.UNSEEN: """
            beta binomial bytes chisquare choice default_rng dirichlet exponential f gamma geometric
            get_bit_generator get_state gumbel hypergeometric laplace logistic lognormal logseries
            multinomial multivariate_normal negative_binomial noncentral_chisquare noncentral_f
            normal pareto permutation poisson power rand randint randn random random_integers
            random_sample ranf rayleigh sample seed set_bit_generator set_state standard_cauchy
            standard_exponential standard_gamma standard_normal standard_t test triangular uniform
            vonmises wald weibull zipf""",
    },
    "Generator": {
        Kind.WRITING: "shuffle",
        Kind.UNSEEN: """
            beta binomial bit_generator bytes chisquare choice dirichlet exponential f gamma
            geometric gumbel hypergeometric integers laplace logistic lognormal logseries
            multinomial multivariate_hypergeometric multivariate_normal negative_binomial
            noncentral_chisquare noncentral_f normal pareto permutation permuted poisson power
            random rayleigh spawn standard_cauchy standard_exponential standard_gamma
            standard_normal standard_t triangular uniform vonmises wald weibull zipf""",
    },
    "ndarray": {
        Kind.ROW_WISE: """
            __abs__ __copy__ __deepcopy__ __divmod__ __rdivmod__ __eq__ __ge__ __gt__ __invert__
            __le__ __lt__ __ne__ __neg__ __pos__ __pow__ __rpow__ __add__ __and__ __floordiv__
            __lshift__ __mod__ __mul__ __or__ __radd__ __rand__ __rfloordiv__ __rlshift__ __rmod__
            __rmul__ __ror__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__ __sub__
            __truediv__ __xor__ astype clip conj conjugate copy imag real round""",
        Kind.SELECTING: """
            __getitem__ compress:self diagonal:self nonzero:self repeat:self take:self""",
        Kind.PERMUTING: """
            T flatten:self mT ravel:self reshape:self squeeze:self swapaxes:self transpose:self
            view""",
        Kind.COMBINING: """
            __matmul__ __rmatmul__ choose cumprod:self cumsum:self dot:self,other""",
        Kind.REDUCING: """
            all:self any:self argmax:self argmin:self argpartition:self argsort:self max:self
            mean:self min:self prod:self std:self sum:self var:self""",
        Kind.OF_ALL: "trace",
        Kind.OF_FIRST: "searchsorted:v",
        Kind.WRITING: """
            __delitem__ __iadd__ __iand__ __ifloordiv__ __ilshift__ __imatmul__ __imod__ __imul__
            __ior__ __ipow__ __irshift__ __isub__ __itruediv__ __ixor__ __setitem__ byteswap fill
            partition put resize setfield sort""",
        Kind.FACT: """
            __array_function__ __array_namespace__ __array_priority__
            __array_ufunc__ __array_wrap__ __class_getitem__ __dlpack_device__ __hash__ __len__
            __sizeof__ __setattr__ __delattr__ __getattribute__ __init__ __new__ __str__ __repr__
            base device dtype flags itemsize nbytes ndim setflags shape size strides to_device""",
        Kind.LEAVING: """
            __array__ __array_finalize__ __array_interface__ __array_struct__ __bool__
            __complex__ __contains__ __dlpack__ __float__ __format__ __index__ __int__ __iter__
            __reduce__ __reduce_ex__ __setstate__ ctypes data dump dumps flat getfield item
            tobytes tofile tolist""",
    },
}


def entries() -> Iterator[Entry]:
    """Yield every function of the table."""
    for namespace, kinds in _TABLE.items():
        for kind, names in kinds.items():
            for each in names.split():
                name, _, data = each.partition(":")
                yield Entry(f"{namespace}.{name}", kind, tuple(data.split(",")) if data else ())
