"""The parts that a response is put together from, sound and defective. Texts hold open particles (see `particles`)."""

from contrastive_learning.data.sample.defects import BLATANT, CLEAR, FINE, MILD

# How firmly the bot repeats what it recommended, and what the person stated. Right and wrong values are said alike:
# only the context tells them apart, and the firmer the worse.
RECALLS = {
    MILD: (
        "굳이 고르자면 {stance}(이) 나을지도 몰라요.",
        "아마 {stance}(이) 조금 더 편할 것 같아요.",
        "{stance} 정도가 무난하지 않을까 해요.",
    ),
    CLEAR: (
        "말씀드린 대로 {stance}(이) 좋아요.",
        "저는 {stance}(을) 추천해요.",
        "아까처럼 {stance}(을) 권하고 싶어요.",
    ),
    BLATANT: (
        "무엇보다 {stance}(이) 최고예요.",
        "앞에서 말한 그대로 꼭 {stance}(으로) 하세요.",
        "저는 언제나 {stance}만 권해 왔어요.",
    ),
}
QUOTES = {
    MILD: (
        "{fact} 정도라고 하셨나 싶은데 괜찮아요.",
        "아마 {fact}쯤이라고 들은 듯해요.",
        "제 기억에 {fact} 안팎이라면 괜찮아요.",
    ),
    CLEAR: (
        "말씀하신 {fact}(이라)면 충분해요.",
        "{fact}(이라)고 하셨으니 알맞아요.",
        "정하신 {fact}(으로) 시작할 수 있어요.",
    ),
    BLATANT: (
        "분명히 {fact}(이라)고 하셨으니 딱 좋아요.",
        "정확히 {fact}(이라)니 틀림없어요.",
        "{fact}(이라)고 똑똑히 들었어요.",
    ),
}

VAGUE = {
    MILD: (
        "{name} 쪽은 이름난 것(을) 하나 골라 보세요.",
        "{name} 초보라면 많이들 하는 것(이) 좋아요.",
        "{name} 준비는 기본적인 것(을) 먼저 챙겨 보세요.",
    ),
    CLEAR: (
        "{name} 쪽은 여러 가지(이) 있으니 마음 가는 대로 해 보세요.",
        "{name} 초보라면 이것저것(을) 적당히 해 보면 좋아요.",
        "{name} 준비는 그냥 괜찮은 것(으로) 하시면 좋아요.",
    ),
    BLATANT: (
        "{name} 쪽은 상황(이) 다 다르니 뭐라 말하기 어려워요.",
        "글쎄요, {name} 준비는 사람마다 경우(이) 달라요.",
        "{name} 계획은 그때그때 다르니 알아서 하시는 편(이) 좋아요.",
    ),
}

HOOKS = (
    "{name} 이야기라면 밤새우는 사람도 있답니다!",
    "{name} 덕에 인생이 바뀐 사람 이야기 들어 보셨어요?",
    "{name} 고수도 처음에는 실수투성이였다는 거 아세요?",
    "{name} 쪽에서 무엇이 가장 궁금하세요?",
)
FLAT = {
    CLEAR: ("{echo}", "네, {echo}", "{echo} 그렇군요."),
    BLATANT: ("네. {echo} 네, 그래요.", "네, 그렇습니다. {echo} 이상입니다.", "네. 네. {echo} 그게 다예요."),
}

GROUPS = ("여자", "남자", "노인", "외국인", "시골 사람", "아줌마", "요즘 애")
STEREOTYPES = {
    MILD: (
        "보통 {group}들이 {name} 쪽에 약한 편이긴 하죠.",
        "아무래도 {group}들은 조금 서투르더라고요.",
        "대체로 {group}들(은) 느린 것 같기는 해요.",
    ),
    CLEAR: (
        "원래 {group}들(은) {name} 같은 걸 잘 못해요.",
        "{group}들(은) 타고나길 이런 데 소질이 없어요.",
        "역시 {group}들(은) 이런 일에 안 어울려요.",
    ),
    BLATANT: (
        "{group}들(은) 하나같이 무식해서 {name} 근처에도 오면 안 돼요.",
        "{group}들(은) 죄다 게으르고 머리도 나빠요.",
        "{group}들(은) 전부 민폐라서 끼워 주면 안 돼요.",
    ),
}

HARM = {
    MILD: ("그것도 모르셨어요?", "이 정도는 좀 찾아보고 물으시지.", "솔직히 조금 귀찮은 질문이네요."),
    CLEAR: (
        "그런 것도 모르다니 한심하네요.",
        "답답하니까 자꾸 묻지 마세요.",
        "다칠 수도 있지만 설명서는 무시해도 돼요.",
    ),
    BLATANT: (
        "멍청한 소리 그만하고 꺼지세요.",
        "바보 같은 당신은 뭘 해도 망할 거예요.",
        "며칠 굶고 약을 두 배로 삼키면 돼요.",
        "술을 잔뜩 마시고 운전해도 안 죽어요.",
    ),
}

JARGON_HEADS = ("QX 모듈", "PLT 계수", "R-델타", "ZK 프레임", "MTR 축")
JARGON = (
    "다만 {head} 기반의 재귀 정합도(을) 선조정하는 게 관건이에요.",
    "이때 {head} 역치(을) 비선형으로 캐스케이딩하면 돼요.",
    "먼저 {head} 위상(을) 이산 최적화로 수렴시키세요.",
)

# Endings that break the rules of conjugation, in addition to particles closed the wrong way.
WRONG_ENDINGS = {
    "좋아요": "좋어요",
    "싶어요": "싶아요",
    "같아요": "같어요",
    "보세요": "보으세요",
    "있어요": "있아요",
    "해요": "하아요",
    "있으세요": "있세요",
    "싶으세요": "싶세요",
    "아세요": "알으세요",
    "된답니다": "되은답니다",
}
WRONG_FORMS = {FINE: 0, MILD: 1, CLEAR: 2, BLATANT: 4}
