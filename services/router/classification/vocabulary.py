"""Topic vocabulary per language.

`word(s)` matches with and without the ending; `stem*` matches every word that begins with it (stems have at least
four letters). Two points decide a topic: one strong word, or two weak ones. Words of an everyday meaning (`snake`
beside `python`) subtract points.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from services.router.classification.normalize import fold

__all__ = ["LANGUAGES", "Topic", "points_by_spelling"]

Topic = Literal["code", "maths", "debugging", "design"]


class _Words(Struct, frozen=True, kw_only=True):
    """The vocabulary of one language; each field is a list of words with spaces between."""

    code: str = ""
    code_weak: str = ""
    not_code: str = ""
    maths: str = ""
    maths_weak: str = ""
    not_maths: str = ""
    debugging: str = ""
    design: str = ""


_ANYWHERE: Final = _Words(
    code="""
        javascript typescript golang kotlin php sql postgres* mysql sqlite mongodb redis docker dockerfile
        kubernetes kubectl django fastapi vue nodejs html css json yaml xml regex regexp api rest graphql
        grpc git github gitlab numpy pytorch tensorflow webpack npm pytest junit jvm stderr stdout
        localhost jquery laravel nginx stacktrace traceback async mutex struct endpoint(s) backend
        frontend oauth orm cpp haskell terraform kafka nullpointerexception segfault sigsegv alembic
        sqlalchemy asyncio selenium webhook(s) websocket(s) chmod sudo ssh curl grep awk crontab systemd
        vim vscode cuda csv vba dns tcp udp oop aiogram makefile dataframe runtime
    """,
    code_weak="""
        python java rust ruby perl scala swift bash shell react angular spring flask pandas spark linux
        pip render commit parser unix http url server css3 script const null undefined telegram bot botu
        excel app docs web enum linter
    """,
    maths="sin cos tan arctan latex fibonacci",
)

_ENGLISH: Final = _Words(
    code="""
        refactor* compile compiler(s) compilation debugger debugging debug subclass* codebase
        microservice(s) deserializ* serializer decorator(s) leetcode flexbox unittest(s) programmatically
        refcount monorepo semaphore(s) coroutine(s) middleware concurrency polymorphism tuple(s)
        multithreading stackoverflow website(s) webpage(s)
    """,
    code_weak="""
        function(s) class classes method(s) variable(s) array(s) loop(s) string(s) object(s) query queries
        database(s) code coding program(s) programming algorithm(s) recursion recursive bug(s)
        exception(s) error(s) module(s) package(s) thread(s) deadlock pointer(s) import(s) deploy*
        repository merge branch parse file(s) folder(s) component(s) interface(s) implement implementation
        script(s) library fault segmentation fails crash(es) test(s) iterator inherit* constructor boolean
        integer(s) callback hash cache terminal retries schema sort sorts sorting command(s) stack heap
        queue socket(s) kernel parallel closure(s) generics login button page formula undo ci cd pipeline
        controller
    """,
    not_code="""
        snake(s) habitat island liver kidney(s) heart school coffee tax taxes tariff(s) travel violin
        quartet recipe dress zip promo postal gym poem slogan history
    """,
    maths="""
        equation(s) derivative(s) integral(s) theorem(s) determinant polynomial(s) logarithm(s) factorial
        cosine algebra calculus eigenvalue(s) trigonometr* probability syllogism(s) riddle hypotenuse
        combinatorics inequality arithmetic quadratic squared cubed radius median variance exponent modulo
        permutation(s) gcd lcm bayes bayesian differentiate numerator denominator logically contrapositive
    """,
    maths_weak="""
        solve prove proof sum matrix matrices vector(s) triangle(s) geometry prime limit sequence
        calculate compute simplify evaluate percent percentage average dice coin(s) deck aces speed
        equally altogether each third half twice remainder divisible buys gives left logic logically lies
        liar truth puzzle factor factorize root function(s) area perimeter circle angle(s) odds maths math
        total remaining divided multiplied split number(s) digits interest diameter next consecutive
        discount equivalent odd sides expand cubes squares
    """,
    not_maths="team roommate problems work culture copyright speech poem slogan role movie purchase",
    debugging="""
        debug debugging bug(s) error(s) exception(s) traceback stacktrace crash(es) crashed crashing
        broken fails failing deadlock leak(s) leaking segfault undefined fault wrong fix
    """,
    design="""
        architect* design designing tradeoff(s) scalab* microservice(s) distributed consistency migration
        migrate roadmap strategy compare evaluate pros refactor* throughput availability sharding
    """,
)

_RUSSIAN: Final = _Words(
    code="""
        отлад* отладь рефактор* скомпилир* компилят* компиляц* программирован* бэкенд* фронтенд* регулярк*
        постгрес* джанго джаваскрипт* гитхаб* докер* эндпоинт* асинхрон* фреймворк* десериализ* сериализ*
        дебаг* баг баги багу бага мьютекс* сегфолт* сверста* верстк* кортеж* полиморфизм* многопоточн*
    """,
    code_weak="""
        функци* класс* метод* переменн* массив* цикл* строк* объект* запрос* код коде кода кодом кодировк*
        скрипт* программ* алгоритм* рекурси* ошибк* исключени* модул* пакет* поток* указател* импорт*
        питон* интерфейс* абстракт* сервер* файл* папк* коммит* ветк* библиотек* компонент* тест* падает
        баз базы базу данных приложени* терминал* миграц* таблиц* столбц* индекс* наследован* реализу*
        реализац* парс* очеред* стек* сортир* сортировк* бота телеграм* сайт* кнопк* словар* сокет*
        команд* замыкан* хеш* контейнер*
    """,
    not_code="""
        печен* почк* организм* школ* пошлин* питается обитает остров* одежд* автомобил* отчет* поздравлен*
        стих* ресторан* врач* сердц*
    """,
    maths="""
        уравнени* интеграл* производн* теорем* докажи докажите доказать вероятност* определител*
        многочлен* логарифм* факториал* косинус* синус* алгебр* тригонометр* комбинатор* неравенств*
        дискриминант* гипотенуз* силлогизм* загадк* арифмет* квадратн* умнож* радиус* медиан* дисперси*
        перестанов* дроби дробь знаменател* числител* делител* возведи диагонал*
    """,
    maths_weak="""
        реши решите вычисли вычислите посчитай сумм* матриц* вектор* треугольник* геометр* предел*
        последовательност* упрост* процент* средн* скорост* поровну останется осталось треть трети
        половин* навстречу встретятся съест корень корни корней градус* простых простое простые кубик*
        монет* шар шаров шара логик* логическ* следует выражени* функци* площад* периметр* окружност*
        угол* угла множител* ряд ряда числ* чисел всего вместе раздели* разделить поделили потратил*
        продал* купил* кратн* степен* круга умерли задачу скидк* нечетн* четных сторонами скобки посчита*
        задач* правду лжет лжец*
    """,
    not_maths="соседями сосед* терпени* отношени* проблем*",
    debugging="""
        отлад* отладь ошибк* баг баги исключени* падает упал* вылета* сломал* дебаг* утечк* почини исправ*
        зависа* неправильно
    """,
    design="""
        спроектир* проектир* архитектур* компромисс* масштабир* микросервис* распределенн* отказоустойч*
        миграц* стратеги* сравни* оптимизир* дизайн* разработай
    """,
)

_TURKISH: Final = _Words(
    code="""
        kodla* derleyici* derle* ayıkla* özyineleme* veritaban* konteyner* betik betiği betikler arayüz*
        yazılımı nesneye refaktör* eşzamansız
    """,
    code_weak="""
        fonksiyon* sınıf* metot* metod* değişken* dizi diziyi dizinin diziler* döngü* sorgu* kod kodu koda
        kodda kodun program programı algoritma* hata hatası hatayı istisna* modül* paket* dosya* klasör*
        bileşen* soyut test* sunucu* tablo* indeks* liste listeyi listesi kütüphane* script* çöküyor
        çalışmıyor uygulama* döndür* kuyruk* sırala* komut* çalıştır* sözlük* buton* sitesi çevir dili
        diline dilinde sayfa sayfası yığın* kalıtım* nesne* veri verisi verileri
    """,
    not_code="""
        karaciğer* böbrek* yılan* adas* ders okul* gezi kahve* araba* vergi* şiir* tatil* kalp* özgeçmiş*
    """,
    maths="""
        denklem* integral* türev* teorem* kanıtla* ispatla* olasılık* olasılığı* determinant* polinom*
        logaritma* faktöriyel* kosinüs* sinüs* cebir* trigonometri* kombinasyon* eşitsizli* hipotenüs*
        bilmece* karekök* aritmeti* sadeleştir* çarpı çarp çarpımı bölü yarıçap* medyan varyans ebob ekok
        permütasyon* kesir kesri payda köşegen*
    """,
    maths_weak="""
        çöz çözün çözüm* hesapla* toplam* matris* vektör* üçgen* geometri* limit* dizisi* yüzde ortalama*
        hızla hızı kalır verirse alırsa üçte yarısı kaçtır eder derece* zar zarın mantık* mantıksal*
        ifadesi* kökleri* kökü fonksiyon* alanı çevresi çember* sayı sayılar* üzeri yalan doğruyu saatte
        asal torbada sayının sayısı kaldı hariç harcadı sattı paylaş* diziyi dairenin varsa indirim*
        alanını kenarları üssü kuvveti ise
    """,
    not_maths="komşu* sorunum* karaciğer*",
    debugging="""
        hata hatası hatayı hatalar* ayıkla* istisna* çöküyor çalışmıyor bozuk* düzelt* sızınt* donuyor
        yanlış
    """,
    design="""
        tasarla* tasarım* mimari* mimarisi ölçekle* mikroservis* dağıtık* strateji* karşılaştır*
        ödünleşim* planla*
    """,
)

LANGUAGES: Final = (_ANYWHERE, _ENGLISH, _RUSSIAN, _TURKISH)

_POINTS: Final[dict[str, tuple[Topic, int]]] = {
    "code": ("code", 2),
    "code_weak": ("code", 1),
    "not_code": ("code", -2),
    "maths": ("maths", 2),
    "maths_weak": ("maths", 1),
    "not_maths": ("maths", -2),
    "debugging": ("debugging", 1),
    "design": ("design", 1),
}
"""The topic of each field, and the points of its words."""


def points_by_spelling() -> dict[str, dict[Topic, int]]:
    """The points per topic of each spelling, folded; a word that is listed twice has the higher points."""
    listed: dict[str, dict[Topic, int]] = {}
    for words in LANGUAGES:
        for name, (topic, points) in _POINTS.items():
            for spelling in fold(getattr(words, name)).split():
                counts = listed.setdefault(spelling, {})
                counts[topic] = max(points, counts.get(topic, points))
    return listed
