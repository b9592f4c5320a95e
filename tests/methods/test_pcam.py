from dataclasses import replace

import pytest
import torch

from napari_wsol.encoders import Features, build_encoder
from napari_wsol.errors import ConfigError, MethodUnavailableError, UnknownNameError
from napari_wsol.methods import Model, ModelSpec, get_method, list_methods
from napari_wsol.methods.pcam import PcamHead, PyramidAttention
from napari_wsol.methods.pcam_pools import POOLS

UNUSED = ("backbone.classifier.", "backbone.fc.", "backbone.AuxLogits.")
MODULES = {"CAM": "channel_attention", "FPA": "pyramid_attention"}
CASES = [
    "pcam_densenet121_PCAM",
    "pcam_densenet121_AVG",
    "pcam_densenet121_MAX",
    "pcam_densenet121_EXP",
    "pcam_densenet121_LSE",
    "pcam_densenet121_AVG_MAX_LSE",
    "pcam_densenet121_AVG_MAX_FPA_fcbn",
    "pcam_densenet121_PCAM_CAM",
    "pcam_densenet121_PCAM_FPA",
    "pcam_densenet121_PCAM_batch1",
    "pcam_densenet169_PCAM",
    "pcam_vgg19_bn_PCAM",
    "pcam_inception_v3_PCAM",
]


def options_of(case):
    config = case.about["config"]
    return {
        "pool": config["global_pool"],
        "attention": config["attention_map"].replace("None", "none"),
        "fc_bn": config["fc_bn"],
        "lse_gamma": config["lse_gamma"],
        "fc_drop": config["fc_drop"],
    }


def only(case, wanted):
    """The case with some entries of its state dict: drawing all weights takes long."""
    keys = [item for item in case.keys().items() if wanted(item[0])]
    return replace(case, about=case.about | {"state_dict": keys})


def published_head(case, channels):
    """The head of a case; the official file holds every module, used or not."""
    options = options_of(case)
    used = ["fc_", "bn_"] if options["fc_bn"] else ["fc_"]
    if options["attention"] != "none":
        used.append(f"attention_map.{MODULES[options['attention']]}.")
    state = only(case, lambda key: key.startswith(tuple(used))).state()
    head = PcamHead(channels, 5, **options).eval()
    head.load_state_dict(state)
    return head


@pytest.fixture(scope="module")
def encode():
    """Gives the features of a case; cases of one encoder and input share them."""
    known = {}

    def features_of(case, name=None):
        name = name or case.about["config"]["backbone"]
        key = name, *case.about["input"]["shape"]
        if key not in known:
            encoder = build_encoder(name).eval()
            state = only(case, lambda key: not key.startswith(UNUSED)).part("backbone.")
            if name.startswith("inception"):
                state = {k.replace(".norm.", ".bn."): v for k, v in state.items()}
            encoder.load_state_dict(state)
            with torch.inference_mode():
                known[key] = encoder(case.x)
        return known[key]

    return features_of


@torch.inference_mode()
def check(case, features, prefix=""):
    head = published_head(case, features.last.shape[1])
    case.close(f"{prefix}logits", head(features).T[..., None])
    name = f"{prefix}logit_maps"
    if name in case.outputs:
        maps = head.class_maps(features).movedim(1, 0)
        # The authors' code drops the axis of a batch of one.
        case.close(name, maps.reshape(case.outputs[name].shape))


@pytest.mark.parametrize("name", CASES)
def test_the_authors_numbers_are_reproduced(golden, encode, name):
    case = golden(name)
    features = encode(case)
    if name.endswith("batch1"):
        features = Features((features.last[:1],), features.strides, features.offsets)
    check(case, features)
    if "backbone_feat" in case.outputs:
        every = features.last.shape[1] // case.outputs["backbone_feat"].shape[1]
        case.close("backbone_feat", features.last[:, ::every])


@pytest.mark.parametrize("target", [0, 4])
@pytest.mark.parametrize("pool", ["PCAM", "AVG", "MAX", "EXP", "LSE"])
@torch.inference_mode()
def test_the_pooled_features_are_the_authors(golden, encode, pool, target):
    case = golden(f"pcam_densenet121_{pool}")
    x = encode(case).last
    head = published_head(case, x.shape[1])
    logits = head.get_submodule(f"fc_{target}")(x)
    case.close(f"pooled_class{target}", head.pools[target](x, logits)[:, ::16])


def test_inception_trained_with_pretrained_rescales_its_input(golden, encode):
    case = golden("pcam_inception_v3_PCAM")
    check(case, encode(case, "inception_v3_transform"), "transform_input_")


@pytest.fixture
def features():
    torch.manual_seed(0)
    return Features((torch.rand(2, 8, 6, 7),), (32,), (15.5,), ("last",))


def a_head(**options):
    torch.manual_seed(1)
    head = PcamHead(8, 3, **options).eval()
    for index in range(3):
        torch.nn.init.normal_(head.get_submodule(f"fc_{index}").weight)
    return head


def pooled(name, x, logits=None):
    logits = torch.zeros_like(x[:, :1]) if logits is None else logits
    return POOLS[name](x.shape[1], 0.5)(x, logits)


def test_linear_weights_by_the_features_and_exp_by_their_exponentials(features):
    x = features.last
    cells = x.flatten(2)
    by_hand = cells.square().sum(-1) / cells.sum(-1)
    assert torch.allclose(pooled("LINEAR", x), by_hand, atol=1e-5)
    by_hand = (cells * cells.softmax(-1)).sum(-1)
    assert torch.allclose(pooled("EXP", x), by_hand, atol=1e-5)


def test_lse_lies_between_mean_and_maximum(features):
    x = features.last
    soft, hard = POOLS["LSE"](8, 1e-3)(x, x), POOLS["LSE"](8, 1e3)(x, x)
    assert torch.allclose(soft, pooled("AVG", x), atol=1e-3)
    assert torch.allclose(hard, pooled("MAX", x), atol=1e-2)


def test_wide_pools_join_the_narrow_ones_in_order(features):
    x = features.last
    parts = [pooled(name, x) for name in ("AVG", "MAX", "LSE")]
    assert torch.allclose(pooled("AVG_MAX", x), torch.cat(parts[:2], 1))
    assert torch.allclose(pooled("AVG_MAX_LSE", x), torch.cat(parts, 1))


def test_lse_lba_pools_logits_with_a_sharpness_above_its_bound(features):
    head = a_head(pool="LSE_LBA", lse_gamma=2.0)
    with torch.no_grad():
        head.pools[1].beta.fill_(0.3)
    r = 2.0 + torch.tensor(0.3).exp()
    maps = head.class_maps(features)[:, 1].flatten(1)
    by_hand = (r * maps).exp().mean(-1).log() / r
    assert torch.allclose(head(features)[:, 1], by_hand, atol=1e-5)
    head(features).sum().backward()
    assert all(float(pool.beta.grad.abs()) > 0 for pool in head.pools)


def test_attention_pooling_weights_cells_as_its_equation_says(features):
    head = a_head(pool="ATTENTION")
    pool, conv, x = head.pools[2], head.fc_2, features.last.flatten(2)
    v, w = pool.hidden.weight.flatten(1), pool.score.weight.flatten()
    weights = (w @ torch.tanh(v @ x)).softmax(-1)
    by_hand = (weights[:, None] * x).sum(-1) @ conv.weight.flatten() + conv.bias
    assert torch.allclose(head(features)[:, 2], by_hand, atol=1e-5)


@pytest.mark.parametrize("name", list(POOLS))
@pytest.mark.parametrize("value", [0.0, -200.0, 200.0, 1e4])
def test_every_pool_stays_finite_where_exponentials_do_not(name, value):
    x = torch.full((2, 8, 3, 3), abs(value), requires_grad=True)
    logits = torch.full((2, 1, 3, 3), value, requires_grad=True)
    result = pooled(name, x, logits)
    (result.sum() / max(abs(value), 1)).backward()
    assert torch.isfinite(result).all()
    for leaf in (x, logits):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()


def test_pcam_pools_the_likeliest_cells_even_when_all_probabilities_underflow():
    x = torch.arange(4.0).view(1, 1, 2, 2)
    logits = torch.tensor([-200.0, -200.0, -230.0, -230.0]).view(1, 1, 2, 2)
    assert torch.sigmoid(logits).sum() == 0  # the authors' quotient is 0 / 0
    assert float(pooled("PCAM", x, logits)) == pytest.approx(0.5)


@pytest.mark.parametrize("pool", list(POOLS))
def test_images_of_a_batch_do_not_meet(features, pool):
    head = a_head(pool=pool, attention="FPA")
    alone = Features((features.last[:1],), (32,), (15.5,), ("last",))
    assert torch.allclose(head(features)[:1], head(alone), atol=1e-5)


@pytest.mark.parametrize("pool", list(POOLS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(features, pool, dtype):
    head = a_head(pool=pool)
    expected = head(features)
    half = Features((features.last.to(dtype),), (32,), (15.5,), ("last",))
    found = head.to(dtype)(half)
    assert found.dtype == dtype
    assert torch.allclose(found.float(), expected, atol=0.05, rtol=0.05)


def test_attention_is_applied_anew_for_every_class(features):
    head = a_head(attention="CAM")
    once = head.attention_map(features.last)
    twice = head.attention_map(once)
    maps = head.class_maps(features)
    assert torch.allclose(maps[:, 0], head.fc_0(once)[:, 0], atol=1e-6)
    assert torch.allclose(maps[:, 1], head.fc_1(twice)[:, 0], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 4), (14, 14)])
def test_pyramid_attention_takes_sides_that_4_does_not_divide(shape):
    torch.manual_seed(0)
    module = PyramidAttention(8).eval()
    x = torch.rand(2, 8, *shape)
    result = module(x)
    assert result.shape == x.shape
    assert torch.isfinite(result).all()


def test_pyramid_attention_of_odd_sides_is_that_of_the_repeated_border():
    torch.manual_seed(0)
    module = PyramidAttention(8).eval()
    x = torch.rand(1, 8, 6, 8)
    longer = torch.cat([x, x[:, :, -1:], x[:, :, -1:]], dim=2)
    weights = module.pyramid(longer)[:, :, :6]
    by_hand = weights * module.mid_branch(x) + module.gap_branch(x)
    assert torch.allclose(module(x), by_hand, atol=1e-6)


def test_wide_pools_say_that_they_have_no_maps(features):
    head = a_head(pool="AVG_MAX")
    assert head(features).shape == (2, 3)
    with pytest.raises(MethodUnavailableError, match="AVG_MAX"):
        head.class_maps(features)


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ({}, True),
        ({"pool": "LSE_LBA"}, True),
        ({"attention": "CAM"}, False),
        ({"pool": "AVG_MAX"}, False),
        ({"pool": "AVG_MAX", "attention": "CAM"}, False),
    ],
)
def test_cells_are_read_alone_unless_others_weigh_them(options, alone):
    head = a_head(**options)
    assert head.reads_cells == alone
    assert (head.pooling() is not None) == alone


def test_the_method_says_why_it_is_not_available():
    def reason(**options):
        spec = ModelSpec(
            encoder="mobilenet_v2",
            classes=("a", "b"),
            heads=("pcam",),
            taps=("features.3",),
            options={"pcam": options},
        )
        model = Model(spec)
        text = get_method("pcam").unavailable(model)
        assert ("pcam" in list_methods(model)) == (text is None)
        return text

    assert reason(pool="EXP") is None
    assert "AVG_MAX_LSE" in reason(pool="AVG_MAX_LSE")


def test_dropout_is_for_training_only(features):
    head = a_head(fc_drop=0.5)
    assert torch.equal(head(features), head(features))
    head.train()
    assert not torch.equal(head(features), head(features))


def test_only_what_is_used_is_built():
    assert not any("bn_" in key or "attention" in key for key in a_head().state_dict())
    keys = a_head(fc_bn=True, attention="CAM").state_dict()
    assert "bn_2.running_var" in keys
    assert "attention_map.channel_attention.fc1.weight" in keys
    assert not any("pyramid" in key for key in keys)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"pool": "SUM"}, UnknownNameError, "pooling"),
        ({"attention": "SAM"}, UnknownNameError, "attention"),
        ({"lse_gamma": 0.0}, ConfigError, "lse_gamma"),
        ({"fc_drop": 1.0}, ConfigError, "fc_drop"),
        ({"pool": "LSE_LBA", "fc_bn": True}, ConfigError, "fc_bn"),
    ],
)
def test_impossible_options_are_refused(options, error, word):
    with pytest.raises(error, match=word):
        a_head(**options)
