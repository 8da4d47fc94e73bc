"""What people write to `role: auto`, in three languages, and the role each should reach.

`TUNED` may be looked at while the vocabulary is changed. `HELD_OUT` may not: only its score counts.
The chat prompts are mostly traps: words of code and mathematics in their everyday meaning.
"""

from __future__ import annotations

from typing import Final

__all__ = ["HELD_OUT", "TUNED", "Corpus"]

Corpus = dict[str, dict[str, tuple[str, ...]]]
"""language -> role -> prompts"""

TUNED: Final[Corpus] = {
    "en": {
        "coding": (
            "Write a Python function that reverses a linked list.",
            "def add(a, b):\n    return a - b\n\nWhy does this give the wrong result?",
            "Traceback (most recent call last):\n  File \"app.py\", line 12, in <module>\nKeyError: 'id'",
            "How do I center a div with flexbox in CSS?",
            "SELECT name FROM users WHERE age > 30 returns nothing, what is wrong?",
            "TypeError: Cannot read properties of undefined (reading 'map')",
            "Refactor parser.py so that it can be tested",
            "docker compose fails with exit code 137",
            "for (let i = 0; i < n; i++) { sum += a[i]; } Can this be faster?",
            "Implement binary search in Rust",
            "My React component re-renders on every keystroke",
            "write me a small bash script which renames all files in a folder",
        ),
        "logic": (
            "Solve 3x + 7 = 22",
            "What is 17 * 243?",
            "Find the derivative of sin(x) * e^x",
            "Prove that the square root of 2 is irrational",
            "How many apples does Tom have left if he buys 12 and gives away a third?",
            "Evaluate the integral of x^2 from 0 to 3",
            "If all roses are flowers and some flowers fade quickly, do some roses fade quickly?",
            "A train leaves at 60 km/h and another one an hour later at 80 km/h. When does the second catch up?",
            "Compute the determinant of the matrix [[1, 2], [3, 4]]",
            "(12 + 8) / 5 - 3 = ?",
        ),
        "chat": (
            "What is the integral part of a good team?",
            "Make a class schedule for my daughter's school",
            "What is the function of the liver?",
            "Describe the habitat of the python, the snake",
            "How do import taxes work in Germany?",
            "Java island travel: what should I see in a week?",
            "Give me a summary of the table of contents",
            "Call me at +1 (555) 123-4567 tomorrow",
            "My flight is on 12/05/2024 at 10:30, what should I pack?",
            "Is $19.99 - $24.99 a fair price for a ticket?",
            "How do I solve problems with my roommate?",
            "Hello! How are you today?",
            "How many people live in Turkey?",
            "They offer 24/7 support and a 50/50 split. Good deal?",
        ),
    },
    "ru": {
        "coding": (
            "Напиши функцию на Python, которая сортирует список",
            "Отладь этот код, он падает с ошибкой",
            "Почему не работает цикл for в JavaScript?",
            "Как подключить PostgreSQL к Django?",
            "Сделай рефакторинг файла main.go",
            "Напиши SQL-запрос, который выберет всех клиентов без заказов",
            "Чем отличается интерфейс от абстрактного класса в Java?",
            "NullPointerException при запуске приложения, что делать?",
            "Как откатить последний коммит в git?",
            "Напиши скрипт, который переименует файлы в папке",
            "Объясни рекурсию на примере кода",
        ),
        "logic": (
            "Реши уравнение x^2 - 5x + 6 = 0",
            "Найди интеграл от x*sin(x)",
            "Докажи, что сумма углов треугольника равна 180 градусам",
            "Сколько яблок останется у Маши, если она съест треть от 12?",
            "Чему равно 125 * 48?",
            "Найди производную функции f(x) = x^3 + 2x",
            "Какова вероятность выпадения двух шестёрок?",
            "Все кошки млекопитающие. Мурка кошка. Следует ли, что Мурка млекопитающее?",
            "Два поезда вышли навстречу друг другу со скоростью 60 и 90 км/ч. Когда они встретятся?",
            "Вычисли предел последовательности (1 + 1/n)^n",
        ),
        "chat": (
            "Какова функция печени в организме?",
            "Составь расписание для пятого класса",
            "Где обитает питон и чем он питается?",
            "Расскажи про остров Ява, хочу туда поехать",
            "Как решить проблему с соседями?",
            "Мой телефон +7 (999) 123-45-67, перезвоните",
            "Встреча 12.05.2024 в 10:30, напомни",
            "Стоит ли платить 1500-2000 рублей за билет?",
            "Привет! Как дела?",
            "Сколько людей живёт в Москве?",
            "Кратко перескажи таблицу из отчёта",
            "Напиши поздравление маме с днём рождения",
            "Работает ли аптека 24/7?",
            "Какие пошлины на импорт одежды?",
        ),
    },
    "tr": {
        "coding": (
            "Python ile bir listeyi sıralayan fonksiyon yaz",
            "Bu kodda hata ayıkla, program çöküyor",
            "JavaScript'te for döngüsü neden çalışmıyor?",
            "React bileşeni sürekli yeniden render oluyor",
            "Tüm müşterileri getiren bir SQL sorgusu yaz",
            "main.go dosyasını yeniden düzenle",
            "Java'da arayüz ile soyut sınıf arasındaki fark nedir?",
            "NullPointerException alıyorum, nasıl çözerim?",
            "Git'te son commit nasıl geri alınır?",
            "Dosyaları yeniden adlandıran bir betik yaz",
            "Özyinelemeli algoritma ile faktöriyel hesaplayan kod yaz",
        ),
        "logic": (
            "x^2 - 5x + 6 = 0 denklemini çöz",
            "x*sin(x) fonksiyonunun integralini bul",
            "Bir üçgenin iç açıları toplamının 180 derece olduğunu kanıtla",
            "Ali'nin 12 elması varsa ve üçte birini verirse kaç elması kalır?",
            "125 * 48 kaç eder?",
            "f(x) = x^3 + 2x fonksiyonunun türevi nedir?",
            "İki zarın da altı gelme olasılığı nedir?",
            "Bütün kediler memelidir. Tekir bir kedidir. Tekir memeli midir, mantıksal olarak göster",
            "Saatte 60 km hızla giden bir tren 240 km yolu kaç saatte alır?",
            "KARMAŞIK SAYILAR KONUSUNDA BİR DENKLEM ÇÖZ",
        ),
        "chat": (
            "Karaciğerin fonksiyonu nedir?",
            "Beşinci sınıf için ders programı hazırla",
            "Piton yılanı nerede yaşar?",
            "Java adasına gezi için ne önerirsin?",
            "Komşularımla sorunumu nasıl çözerim?",
            "Telefonum +90 (532) 123 45 67, beni ara",
            "Toplantı 12.05.2024 saat 10:30'da, hatırlat",
            "Bir bilet için 1500-2000 lira vermeye değer mi?",
            "Merhaba! Nasılsın?",
            "İstanbul'da kaç kişi yaşıyor?",
            "Bu yaz tatilinde nereye gidelim?",
            "Anneme doğum günü mesajı yaz",
            "En sevdiğin dizi hangisi?",
            "Eczane 7/24 açık mı?",
        ),
    },
}

HELD_OUT: Final[Corpus] = {
    "en": {
        "coding": (
            "Create a TypeScript class for a shopping cart with unit tests",
            "What does `git rebase --onto` do?",
            "Why do I get a segmentation fault in this C program?",
            "```js\nconst x = await fetch(url)\n```\nadd retries",
            "How can I speed up a slow PostgreSQL query?",
        ),
        "logic": (
            "What is 15% of 240?",
            "Three friends split a bill of 87 dollars equally. How much does each one pay?",
            "Simplify (2x + 3)(x - 4)",
            "What is the probability of drawing two aces from a deck?",
            "Anna is older than Ben, and Ben is older than Carl. Who is the youngest?",
        ),
        "chat": (
            "What was the class struggle in the 19th century?",
            "How do I remove rust from my bike?",
            "Write a poem about autumn",
            "Who plays first violin in a string quartet?",
            "Our sum of experience is 20 years; write a slogan for us",
            "What are the limits of free speech?",
        ),
    },
    "ru": {
        "coding": (
            "Создай класс на C++ для очереди",
            "Как сделать миграцию базы данных в Alembic?",
            "Найди баг: print(items[len(items)])",
            "Оптимизируй алгоритм, он работает за O(n^2)",
            "Как написать юнит-тесты для этого метода?",
        ),
        "logic": (
            "Сколько будет 15% от 240?",
            "Аня старше Бори, Боря старше Вити. Кто самый младший?",
            "Упрости выражение (2x + 3)(x - 4)",
            "В корзине 5 красных и 7 синих шаров. Какова вероятность достать красный?",
            "Найди корни многочлена x^3 - 6x^2 + 11x - 6",
        ),
        "chat": (
            "Какой класс автомобиля выбрать для семьи?",
            "Напиши стихотворение про осень",
            "Посоветуй сериал на вечер",
            "Почему у меня болит голова после кофе?",
            "Каков предел терпения у человека?",
            "Как вывести ржавчину с велосипеда?",
        ),
    },
    "tr": {
        "coding": (
            "C++ ile kuyruk için bir sınıf yaz",
            "Bu metot için birim testleri nasıl yazılır?",
            "Docker konteyneri başlamıyor, hata kodu 1",
            "Veritabanı tablosuna indeks nasıl eklenir?",
            "API'den JSON verisi çeken bir script hazırla",
        ),
        "logic": (
            "240'ın yüzde 15'i kaçtır?",
            "Ayşe Burak'tan, Burak Can'dan büyük. En küçük kim?",
            "(2x + 3)(x - 4) ifadesini sadeleştir",
            "Torbada 5 kırmızı 7 mavi top var. Kırmızı çekme olasılığı nedir?",
            "2 üzeri 10 kaçtır, adım adım hesapla",
        ),
        "chat": (
            "Aile için hangi sınıf araba almalıyım?",
            "Sonbahar hakkında bir şiir yaz",
            "Akşam için bir film öner",
            "Kahveden sonra neden başım ağrıyor?",
            "Bisikletteki pas nasıl çıkarılır?",
            "İyi bir özgeçmiş nasıl hazırlanır?",
        ),
    },
}
