"""Values that a line of JSON can contain, also those that the standard does not know."""

from hypothesis import strategies as st

any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-3, max_value=10**6)
    | st.sampled_from([10**19, -(10**19), 10**400, 1 << 62, (1 << 62) - 1])
    | st.floats()
    | st.text()
    | st.sampled_from(["\x1b[2J", "\u202e", "\ud800", "../x", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
