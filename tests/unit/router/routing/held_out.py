"""Prompts that the vocabulary was not tuned on: only their score counts.

Whoever changes the vocabulary because of one of these moves it to corpus.py and writes another here.
"""

from __future__ import annotations

from typing import Final

from tests.unit.router.routing.corpus import Corpus

__all__ = ["HELD_OUT"]

HELD_OUT: Final[Corpus] = {
    "en": {
        "coding": (
            "Why does my Java program throw an out of memory exception?",
            "Add pagination to this Express endpoint",
            "What is the difference between TCP and UDP sockets?",
            "Write a function to check if a string is a palindrome",
            "pip install fails with permission denied",
            "Port this shell script to PowerShell",
            "How do I filter a pandas dataframe by column?",
            "public static void main(String[] args) does not compile",
        ),
        "logic": (
            "What is 144 divided by 12?",
            "Solve for y: 5y - 3 = 2y + 9",
            "A car travels 150 km in 2 hours. What is its average speed?",
            "Find the limit of (1 - cos x)/x^2 as x goes to 0",
            "Prove by induction that 1 + 2 + ... + n = n(n+1)/2",
            "If today is Monday, what day will it be in 100 days?",
            "In how many ways can you arrange the letters of BANANA?",
            "What are the roots of x^2 - 4x + 3?",
        ),
        "chat": (
            "Who won the world cup in 2018?",
            "Write a birthday card for my grandmother",
            "Explain the plot of Hamlet in two sentences",
            "How do I remove a red wine stain from a shirt?",
            "My boss made an error and blames me, what should I say?",
            "Which vitamins are good in winter?",
            "Tell me about the C major scale",
            "I have a job interview at 10:00 on 03-04-2025, any tips?",
            "What is the python's diet in the wild?",
            "What is a healthy body mass for a cat?",
            "Is the library open on Sundays?",
            "Suggest a title for my essay on friendship",
        ),
    },
    "ru": {
        "coding": (
            "Почему моя программа на Java падает с OutOfMemoryError?",
            "Добавь пагинацию в этот эндпоинт",
            "Чем TCP отличается от UDP?",
            "Напиши функцию, проверяющую, что строка палиндром",
            "Как установить пакет через pip без прав администратора?",
            "Перепиши bash-скрипт на PowerShell",
            "Как отфильтровать датафрейм по столбцу в pandas?",
            "Как работает сборщик мусора в Go?",
        ),
        "logic": (
            "Сколько будет 144 разделить на 12?",
            "Найди y: 5y - 3 = 2y + 9",
            "Машина проехала 150 км за 2 часа. Какова её средняя скорость?",
            "Докажи по индукции, что 1 + 2 + ... + n = n(n+1)/2",
            "Если сегодня понедельник, какой день недели будет через 100 дней?",
            "Сколько слов можно составить из букв слова БАНАН?",
            "Чему равен косинус 60 градусов?",
            "Разложи на множители x^2 - 4x + 3",
        ),
        "chat": (
            "Кто выиграл чемпионат мира в 2018?",
            "Напиши открытку бабушке",
            "Перескажи Гамлета в двух предложениях",
            "Как вывести пятно от вина?",
            "Начальник ошибся и обвиняет меня, что сказать?",
            "Какие витамины пить зимой?",
            "Собеседование 03.04.2025 в 10:00, дай советы",
            "Открыта ли библиотека в воскресенье?",
            "Придумай название для эссе о дружбе",
            "Чем кормить котёнка?",
            "Какая строка в квитанции за свет?",
            "Расскажи про метод Монтессори",
        ),
    },
    "tr": {
        "coding": (
            "Java programım neden OutOfMemoryError veriyor?",
            "Bu uç noktaya sayfalama ekle",
            "TCP ile UDP soketleri arasındaki fark nedir?",
            "Bir metnin palindrom olup olmadığını kontrol eden fonksiyon yaz",
            "pip ile paket kurarken izin hatası alıyorum",
            "Bu bash betiğini PowerShell'e çevir",
            "pandas dataframe sütuna göre nasıl filtrelenir?",
            "Go'da çöp toplayıcı nasıl çalışır?",
        ),
        "logic": (
            "144 bölü 12 kaçtır?",
            "y'yi bul: 5y - 3 = 2y + 9",
            "Bir araba 2 saatte 150 km gidiyor. Ortalama hızı nedir?",
            "Tümevarımla 1 + 2 + ... + n = n(n+1)/2 olduğunu kanıtla",
            "Bugün pazartesi ise 100 gün sonra hangi gündür?",
            "x^2 - 4x + 3 ifadesini çarpanlarına ayır",
            "60 derecenin kosinüsü kaçtır?",
            "BANANA kelimesinin harfleri kaç farklı şekilde dizilebilir?",
        ),
        "chat": (
            "2018 Dünya Kupası'nı kim kazandı?",
            "Büyükanneme doğum günü kartı yaz",
            "Hamlet'i iki cümlede özetle",
            "Gömlekten şarap lekesi nasıl çıkar?",
            "Patronum hata yaptı ve beni suçluyor, ne diyeyim?",
            "Kışın hangi vitaminler iyi gelir?",
            "03.04.2025 saat 10:00'da iş görüşmem var, tavsiye ver",
            "Kütüphane pazar günü açık mı?",
            "Dostluk üzerine denemem için başlık öner",
            "Yavru kediye ne yedirilir?",
            "Piton yılanı ne yer?",
            "Karaciğer için hangi yiyecekler faydalı?",
        ),
    },
}
