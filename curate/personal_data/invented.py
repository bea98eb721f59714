"""Words that surrogates of names and addresses are put together from, written for this purpose.

Surnames are compound ones that have all but died out (Chinese) or that nobody bears (English); cities, districts and
roads are on no map. The order of the words decides which surrogate a value gets, so words are never moved or removed.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SURNAMES_ZH = _words(
    "亓官 司寇 子车 颛孙 巫马 公西 漆雕 乐正 壤驷 公良 夹谷 宰父 谷梁 段干 羊舌 微生 梁丘 左丘 "
    "东郭 南门 闾丘 太叔 仲孙 公冶 宗政 轩辕 钟离 赫连 澹台 拓跋 百里 呼延 东门 归海 即墨 公羊"
)
"""Compound surnames, two characters each."""

GIVEN_ZH = (
    "云若清子思雨晓梦书墨星辰知予安景行南北归舟砚棠梨絮竹松柏霁岚汐澜溪泽川岩峤峰野原禾苗粟麦菽"
    "芷蘅蕙兰荷菱萱薇蔓葵葭菲芸茗莘菁琴瑟笙箫鼓磬钧铎锦绣绮纹绫素缃黛青朱玄皓白月朔望晦昭旭昕晗"
)
"""First character of a given name."""

GIVEN_ZH_SECOND = (
    "桥亭轩榭阁廊楼台渡津汀洲渚岸崖谷壑峦岫岭屿湾浦泊池泉涧瀑潭渊海洋江河湖沼露霜雪雹雾霭霞虹雷电"
    "风岁年时刻晨午暮夕宵夜昼晴阴寒暖凉温和平宁定静远近深浅高低长短方圆直曲正中初终始末前后左右上"
)
"""Second character of a given name."""

CITIES_ZH = _words(
    "望舒 沧溟 扶摇 揽月 栖云 听澜 枕霞 归鹤 拾翠 鸣珂 裁云 照影 漱玉 浮槎 流萤 疏桐 映雪 衔烛 踏莎 临渊 "
    "忘川 折桂 采薇 凌虚 倚晴 醉墨 观棋 烹雪 剪烛 垂纶 扫叶 煮鹤 听鹂 浣纱 飞琼 弄潮 寻隐 抱朴 守拙 藏锋"
)
"""Cities that are on no map, without 市."""

DISTRICTS_ZH = _words(
    "青枫 白鹭 朱槿 玄圃 紫藤 金桂 银杏 碧梧 丹枫 翠篁 苍梧 素馨 绛雪 黛山 赭石 湘竹 "
    "墨池 砚田 琴川 棋盘 书带 画屏 诗瓢 酒旗 茶烟 香篆 灯影 帘波 钟声 笛浦 箫台 鼓岩"
)
"""Districts, without 区."""

ROADS_ZH = _words(
    "听松 望岳 枕流 漱石 采菊 折柳 问梅 寻芳 踏雪 拾萤 捣衣 浣花 观鱼 放鹤 饮马 牧笛 "
    "渔火 樵歌 耕读 弦诵 投壶 射覆 斗茶 焚香 抚琴 对弈 挥毫 泼墨 吟风 弄月 餐霞 沐露 "
    "披星 戴月 追云 逐日 步虚 御风 凌波 穿花 拂柳 扫苔 移竹 种豆 裁衣 纺绩 舂米 汲泉 "
    "煮茗 温酒 候潮 祈雨 祭灶 守岁 迎春 送夏 悲秋 藏冬 闻鸡 听蛩 数雁 招鸥 盟鹭 友鹿"
)
"""Roads, without 路."""

GIVEN_EN = _words(
    "Alder Arlen Averil Briony Caspen Corvin Damaris Delwyn Edlyn Elowen Emrick Fenna Fintan Galen Garrick Halden "
    "Hesper Idony Ilsa Imber Jarrow Jessamy Kelda Kerrin Laurel Linnet Lorcan Maris Meriel Merrin Neve Nolan Odell "
    "Orla Osric Perrin Piran Quilla Quent Rowan Roswyn Sabra Selwyn Senna Tamsin Tarn Tiernan Ulric Una Vale Verity "
    "Wilder Wren Xanthe Yarrow Yestin Zelda Zephan Ansel Brisa Corin Dara Ember Farran"
)
"""English given names."""

SURNAMES_EN = (
    _words(
        "Ash Bram Cinder Dusk Elder Fern Gloam Hazel Iver Juni Kestrel Lark Mallow Nettle Oaken Pebble Quill Raven "
        "Sable Thistle Umber Vesper Wander Yarrow Zephyr Amber Bracken Copper Drift Ember Fallow Gorse Heather Ivy "
        "Jasper Kindle Linden Marrow Needle Otter Plover Quarry Russet Sorrel Tansy Upland Violet Willow Yonder "
        "Zinnia Acorn Bramble Clover Dapple Echo Flint Grove Harrow Indigo Jackdaw Knoll Lichen Mossy Nimbus"
    ),
    _words(
        "wick mere stead combe thorne garth holt shaw hurst beck gill fold croft lathe wold sedge stile brow crag dene "
        "fell ghyll haugh keld ling moss nab pike rigg scar tarn thwaite wath yoke barrow bourne cleave dyke ferry "
        "gate hythe knap lynch marl ness over pound quay"
    ),
)
"""English surnames, in two parts that are joined."""
