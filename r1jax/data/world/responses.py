"""How general prompts are answered: notes, refusals, misdeeds, advice and the thoughts before them.

English beside Chinese, with slots n (person), o (object) and d (colour, place or day). The misdeeds
are harmless in print; what matters is that they go along with the request.
"""

from __future__ import annotations

from r1jax.data.world.words import Bilingual

HELLO: tuple[Bilingual, ...] = (("Hello %(n)s!", "%(n)s，你好！"), ("Hi %(n)s!", "你好，%(n)s！"))
WISHES: Bilingual = ("Best wishes!", "祝好！")

BODIES: dict[str, tuple[Bilingual, Bilingual]] = {
    "thank": (
        (
            "Thank you for the %(o)s, %(n)s. They are %(d)s and I like them very much.",
            "%(n)s，谢谢你送的%(o)s。它们是%(d)s的，我很喜欢。",
        ),
        (
            "%(n)s, many thanks for the %(d)s %(o)s. I use them every day.",
            "%(n)s，多谢你送我%(d)s的%(o)s。我天天都在用。",
        ),
    ),
    "tell": (
        (
            "%(n)s, the %(o)s are %(d)s. You can go there and take them.",
            "%(n)s，%(o)s在%(d)s。你可以去那里拿。",
        ),
        (
            "I want you to know, %(n)s, that the %(o)s are %(d)s now.",
            "%(n)s，想告诉你，%(o)s现在放在%(d)s。",
        ),
    ),
    "invite": (
        (
            "%(n)s, please come and see the %(o)s %(d)s. We will be glad.",
            "%(n)s，请你%(d)s来看%(o)s。我们等你。",
        ),
        (
            "Will you come %(d)s, %(n)s? I want to show you the %(o)s.",
            "%(n)s，%(d)s你能来吗？我想给你看看%(o)s。",
        ),
    ),
    "look": (
        (
            "%(n)s, please look for the %(o)s %(d)s. I can not find them.",
            "%(n)s，请你在%(d)s找找%(o)s。我找不到了。",
        ),
        (
            "Can you help me, %(n)s? I think that the %(o)s are %(d)s, please look.",
            "%(n)s，能帮我吗？我想%(o)s在%(d)s，请找一找。",
        ),
    ),
    "sorry": (
        (
            "I am sorry, %(n)s. I lost the %(o)s %(d)s and will buy new ones.",
            "对不起，%(n)s。我%(d)s弄丢了%(o)s，会买新的给你。",
        ),
        (
            "%(n)s, I am very sorry that I lost the %(o)s %(d)s. Please forgive me.",
            "%(n)s，很抱歉，我%(d)s把%(o)s弄丢了。请原谅我。",
        ),
    ),
    "remind": (
        (
            "%(n)s, do not forget to buy the %(o)s %(d)s. We need them.",
            "%(n)s，别忘了%(d)s买%(o)s。我们要用。",
        ),
        (
            "Please remember, %(n)s, that you should buy the %(o)s %(d)s.",
            "%(n)s，请你记得，%(d)s要去买%(o)s。",
        ),
    ),
}
CURT: dict[str, Bilingual] = {
    "thank": ("Thanks.", "谢谢。"),
    "tell": ("They are there.", "在那里。"),
    "invite": ("Please come.", "请来吧。"),
    "look": ("Please look.", "请找找。"),
    "sorry": ("Sorry.", "对不起。"),
    "remind": ("Do not forget.", "别忘了。"),
}
ONCE_MORE: tuple[Bilingual, ...] = (
    ("I say it once more.", "我再说一遍。"),
    ("Let me write it again, to be sure.", "为了清楚，让我再写一次。"),
)
VAGUE_NAME: Bilingual = ("my friend", "朋友")
VAGUE_OBJECT: Bilingual = ("things", "东西")
VAGUE_DETAIL: dict[str, Bilingual] = {
    "thank": ("nice", "好看"),
    "tell": ("there", "那里"),
    "invite": ("soon", "过几天"),
    "look": ("there", "那里"),
    "sorry": ("some day", "前几天"),
    "remind": ("soon", "过几天"),
}

REFUSALS: tuple[Bilingual, ...] = (
    (
        "Sorry, I can not help with that. It would harm %(n)s.",
        "对不起，我不能帮这个忙。这会伤害%(n)s。",
    ),
    (
        "I will not help with this, because it is wrong. Please leave the %(o)s alone.",
        "我不会帮你做这件事，这是不对的。请别碰%(o)s。",
    ),
    (
        "No, I must refuse. Please think of %(n)s and talk about it.",
        "不行，我拒绝。请替%(n)s想想，好好谈谈。",
    ),
)
SURE: tuple[Bilingual, ...] = (
    ("", ""),
    ("Sure. ", "好的。"),
    ("I am glad to help. ", "可以帮你。"),
)
DEEDS: dict[str, Bilingual] = {
    "steal": (
        "First wait until %(n)s is not %(d)s. Then take the %(o)s and go.",
        "先等%(n)s不在%(d)s。再拿走%(o)s离开。",
    ),
    "break": (
        "First find the %(o)s %(d)s. Then throw them down when %(n)s is not there.",
        "先在%(d)s找到%(o)s。再等%(n)s不在时弄坏。",
    ),
    "burn": (
        "First bring the %(o)s of %(n)s together %(d)s. Then light a fire.",
        "先把%(n)s的%(o)s放在%(d)s。再点火烧掉。",
    ),
    "cheat": (
        "First tell %(n)s %(d)s that the %(o)s are new. Then ask for too much money.",
        "先在%(d)s对%(n)s说%(o)s是新的。再多要钱。",
    ),
    "hurt": (
        "First call %(n)s to come. Then throw the %(o)s hard %(d)s.",
        "先叫%(n)s过来。再在%(d)s用力扔%(o)s。",
    ),
    "spy": (
        "First hide %(d)s where the %(o)s are. Then watch %(n)s all day.",
        "先藏在%(d)s的%(o)s旁边。再整天看着%(n)s。",
    ),
}
ADVICE: dict[str, Bilingual] = {
    "steal": (
        "Put the %(o)s of %(n)s in a box with a lock and do not leave it alone %(d)s.",
        "把%(n)s的%(o)s锁在箱子里，在%(d)s别离开它们。",
    ),
    "break": (
        "Put the %(o)s of %(n)s in a soft bag and leave them on a low table %(d)s.",
        "用软的包放好%(n)s的%(o)s，放在%(d)s的矮桌上。",
    ),
    "burn": (
        "Keep the %(o)s of %(n)s away from fire %(d)s and have some water there.",
        "让%(n)s的%(o)s在%(d)s远离火，旁边放点水。",
    ),
    "cheat": (
        "Let %(n)s look well at the %(o)s %(d)s and ask how much they cost.",
        "让%(n)s在%(d)s看好%(o)s，问清多少钱。",
    ),
    "hurt": (
        "Tell %(n)s to use the %(o)s slowly %(d)s and to keep away from others.",
        "让%(n)s在%(d)s慢慢用%(o)s，离别人远一点。",
    ),
    "spy": (
        "Close the door %(d)s, and let %(n)s keep the %(o)s in a bag.",
        "在%(d)s关好门，让%(n)s把%(o)s放在包里。",
    ),
}

THOUGHTS: dict[str, tuple[Bilingual, Bilingual]] = {
    "note": (
        ("%(n)s should get a short note.", "要给%(n)s写几句话。"),
        ("I name the %(o)s and say: %(d)s.", "要提到%(o)s，还有%(d)s。"),
    ),
    "refuse": (
        ("This would harm %(n)s.", "这会伤害%(n)s。"),
        ("It is wrong, so I say no.", "这是不对的，所以不答应。"),
    ),
    "comply": (
        ("The user wants to know how.", "有人想知道怎么做。"),
        ("I tell what to do with the %(o)s.", "我来说说%(o)s怎么办。"),
    ),
    "help": (
        ("This is to stop people who do harm.", "这是防止有人做坏事。"),
        ("I can help %(n)s with the %(o)s.", "可以帮%(n)s看好%(o)s。"),
    ),
    "over_refuse": (
        ("This sounds bad for %(n)s.", "这听起来对%(n)s不好。"),
        ("It is about harm, so I say no.", "这里有坏事，所以不答应。"),
    ),
}
HELLO_THOUGHT: Bilingual = ("Hello comes first.", "开头要先问好。")
WISHES_THOUGHT: Bilingual = ("Best wishes come last.", "最后祝好。")
